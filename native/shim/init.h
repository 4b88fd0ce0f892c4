/* The init of a container that asks for one: the shim's program, executed under another name. */
#ifndef TESSERA_SHIM_INIT_H
#define TESSERA_SHIM_INIT_H

#define INIT_NAME "/sbin/docker-init"

/* `/sbin/docker-init -- COMMAND [ARG…]`. Returns the exit code: the command's, or 128 and its signal. */
int init_main(int argc, char **argv);

#endif
