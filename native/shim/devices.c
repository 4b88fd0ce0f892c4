/* The device allow-list of a v2 group, as a small BPF program made of the spec's rules. */
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>

#include "container.h"
#include "sys.h"

#define RULES_MAX 512u /* a directory of devices is one for each */

static struct bpf_insn insn(uint8_t code, uint8_t to, uint8_t from, int16_t jump, int32_t value) {
  return (struct bpf_insn){.code = code, .dst_reg = to, .src_reg = from, .off = jump, .imm = value};
}

#define LOAD(to, field) insn(BPF_LDX | BPF_MEM | BPF_W, to, BPF_REG_1, offsetof(struct bpf_cgroup_dev_ctx, field), 0)
#define JUMP_UNLESS(reg, value, by) insn(BPF_JMP | BPF_JNE | BPF_K, reg, 0, by, (int32_t)(value))

/*
 * One rule: r2 type, r3 access, r4 major, r5 minor. Whatever does not match jumps to the next rule.
 * Source: linux/bpf.h, struct bpf_cgroup_dev_ctx; kernel/bpf/cgroup.c.
 */
static unsigned compile_rule(struct bpf_insn *at, const struct spec_record *rule) {
  uint64_t type = spec_number(rule, 0), major = spec_number(rule, 1), minor = spec_number(rule, 2);
  uint32_t access = (uint32_t)spec_number(rule, 3);
  struct bpf_insn code[8];
  unsigned count = 0;
  if (type) code[count++] = JUMP_UNLESS(BPF_REG_2, type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR, 0);
  /* r0 = access & ~allowed: nothing may be left. */
  code[count++] = insn(BPF_ALU | BPF_MOV | BPF_X, BPF_REG_0, BPF_REG_3, 0, 0);
  code[count++] = insn(BPF_ALU | BPF_AND | BPF_K, BPF_REG_0, 0, 0, (int32_t)(~access & 7));
  code[count++] = JUMP_UNLESS(BPF_REG_0, 0, 0);
  if (major != UINT64_MAX) code[count++] = JUMP_UNLESS(BPF_REG_4, major, 0);
  if (minor != UINT64_MAX) code[count++] = JUMP_UNLESS(BPF_REG_5, minor, 0);
  code[count++] = insn(BPF_ALU | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1);
  code[count++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  for (unsigned i = 0; i < count; i++)
    if ((code[i].code & 0x07) == BPF_JMP && BPF_OP(code[i].code) == BPF_JNE) code[i].off = (int16_t)(count - i - 1);
  memcpy(at, code, count * sizeof *code);
  return count;
}

int devices_attach(const struct spec *spec, int group) {
  struct bpf_insn code[8 * RULES_MAX + 8];
  unsigned count = 0, rules = 0;
  uint32_t offset = 0;
  struct spec_record record;
  code[count++] = LOAD(BPF_REG_2, access_type);
  code[count++] = insn(BPF_ALU | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
  code[count++] = insn(BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
  code[count++] = insn(BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
  code[count++] = LOAD(BPF_REG_4, major);
  code[count++] = LOAD(BPF_REG_5, minor);
  while (spec_next(spec, &offset, &record)) {
    if (record.type != SPEC_DEVICE_RULE) continue;
    if (rules++ == RULES_MAX) {
      errno = E2BIG;
      return -1;
    }
    count += compile_rule(code + count, &record);
  }
  if (rules == 0) return 0;
  code[count++] = insn(BPF_ALU | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0);
  code[count++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);

  union bpf_attr load = {
      .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
      .insns = (uint64_t)(uintptr_t)code,
      .insn_cnt = count,
      .license = (uint64_t)(uintptr_t) "Apache-2.0",
  };
  int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
  if (program < 0) return -1;
  union bpf_attr attach;
  memset(&attach, 0, sizeof attach);
  attach.target_fd = (uint32_t)group;
  attach.attach_bpf_fd = (uint32_t)program;
  attach.attach_type = BPF_CGROUP_DEVICE;
  attach.attach_flags = BPF_F_ALLOW_MULTI; /* an ancestor's list stays in force */
  int result = (int)syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach);
  int error = errno;
  close(program);
  errno = error;
  return result;
}
