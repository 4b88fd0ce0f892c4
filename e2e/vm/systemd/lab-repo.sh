#!/bin/bash
# What a machine booted by systemd has of the test's: the checkout at /opt/tessera, node in the path, an address.
set -euo pipefail
mkdir -p /repo-ro /repo /var/vm/upper /var/vm/work
mount -o ro /dev/nvme1n1 /repo-ro
mount -t overlay overlay -o lowerdir=/repo-ro,upperdir=/var/vm/upper,workdir=/var/vm/work /repo
[ -e /opt/tessera ] || ln -s /repo /opt/tessera
# Machine code that is made anew all the time is what an emulator is slowest at: without it, node starts twice as fast.
[ -e /usr/bin/node ] || cat >/usr/bin/node <<'END'
#!/bin/sh
export LD_LIBRARY_PATH=/repo/.cache/vm/lib NODE_OPTIONS=--jitless
exec /repo/node/node "$@"
END
chmod 755 /usr/bin/node
modprobe -a overlay bridge veth vxlan dummy nf_tables nft_chain_nat nft_masq nft_redir nft_ct nft_numgen nf_conntrack nf_conntrack_netlink br_netfilter
ip link show lab0 >/dev/null 2>&1 || ip link add lab0 type dummy
ip address replace 10.99.0.1/24 dev lab0
ip link set lab0 up
