/* Finding and executing the command, with Go's exec.LookPath in mind, whose answers Docker's users know. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"
#include "init.h"
#include "sys.h"
#include "text.h"

/* Tells the shim that what follows is the command itself: an end without it means we never got there. */
static void announce(const struct child *child) {
  ssize_t ignored = write(child->outcome, "", 1);
  (void)ignored;
}

_Noreturn static void fail_exec(const struct child *child, const char *path, const char *command) {
  int error = errno;
  struct stat found;
  uint32_t stage = STAGE_EXEC;
  if ((error == ENOENT || error == ENOTDIR || error == ELOOP) && stat(path, &found)) stage = STAGE_STAT;
  else if (error == EACCES && stat(path, &found) == 0 && S_ISDIR(found.st_mode)) error = EISDIR;
  errno = error;
  child_fail(child, stage, command);
}

/* Tries each directory of PATH. Returns when none has it. */
static void search(const struct child *child, const char *path, char **argv, char **envp) {
  for (const char *end; path; path = *end ? end + 1 : 0) {
    char candidate[4096];
    struct text text;
    struct stat found;
    end = strchr(path, ':');
    if (!end) end = path + strlen(path);
    size_t length = (size_t)(end - path);
    if (length >= sizeof candidate) continue;
    memcpy(candidate, path, length);
    candidate[length] = 0;
    text_init(&text, candidate + length, sizeof candidate - length);
    text_add(&text, "/");
    text_add(&text, argv[0]);
    if (text.cut || candidate[0] != '/' || stat(candidate, &found) || !S_ISREG(found.st_mode)) continue;
    if (faccessat(AT_FDCWD, candidate, X_OK, AT_EACCESS)) continue;
    execve(candidate, argv, envp);
    fail_exec(child, candidate, argv[0]);
  }
}

/*
 * Adds the record's variables to those there are. Each takes the place of one of the same name among the first
 * `replaceable`, as Docker lays an exec's environment over its container's. Returns how many there are then.
 */
static uint32_t add_environment(char **envp, uint32_t count, const struct spec_record *record, uint32_t replaceable) {
  char *at = (char *)(uintptr_t)record->string;
  for (uint32_t i = 0; i < record->string_count; i++, at += strlen(at) + 1) {
    size_t name = strcspn(at, "=");
    uint32_t place = 0;
    while (place < replaceable && (strncmp(envp[place], at, name) || envp[place][name] != '=')) place++;
    if (place == replaceable) place = count++;
    envp[place] = at;
  }
  return count;
}

/* The command, found or not, is init's to run. */
_Noreturn static void run_init(const struct child *child, char **command, uint32_t count, char **envp) {
  char *argv[count + 3], path[32];
  struct text text;
  argv[0] = (char *)(uintptr_t)INIT_NAME;
  argv[1] = (char *)(uintptr_t) "--";
  memcpy(argv + 2, command, (count + 1) * sizeof *argv);
  syscall(SYS_execveat, child->init, "", argv, envp, AT_EMPTY_PATH);
  /* A filter of the user's may know execve alone. */
  text_init(&text, path, sizeof path);
  text_add(&text, "/proc/self/fd/");
  text_number(&text, (uint64_t)child->init);
  execve(path, argv, envp);
  child_fail(child, STAGE_EXEC, INIT_NAME);
}

_Noreturn void child_exec(const struct child *child, const char *home) {
  struct spec_record args, env;
  char home_variable[512];
  struct text text;
  const char *path = 0;
  int has_home = 0, has_term = 0;
  struct spec_record own = {0};
  child_find(child, SPEC_ARGS, &args);
  spec_find(child->spec, SPEC_ENV, &env);
  if (child->exec) spec_find(child->exec, SPEC_ENV, &own);
  char *argv[args.string_count + 1], *envp[env.string_count + own.string_count + 3];
  char *at = (char *)(uintptr_t)args.string;
  for (uint32_t i = 0; i < args.string_count; i++, at += strlen(at) + 1) argv[i] = at;
  argv[args.string_count] = 0;
  uint32_t count = add_environment(envp, 0, &env, 0);
  count = add_environment(envp, count, &own, env.string_count);
  for (uint32_t i = 0; i < count; i++) {
    if (!strncmp(envp[i], "PATH=", 5)) path = envp[i] + 5;
    if (!strncmp(envp[i], "HOME=", 5)) has_home = 1;
    if (!strncmp(envp[i], "TERM=", 5)) has_term = 1;
  }
  if (!has_term && (child_flags(child) & SPEC_FLAG_TTY)) envp[count++] = (char *)(uintptr_t) "TERM=xterm"; /* as Docker */
  if (!has_home) {
    text_init(&text, home_variable, sizeof home_variable);
    text_add(&text, "HOME=");
    text_add(&text, home);
    envp[count++] = home_variable;
  }
  envp[count] = 0;
  if (args.string_count == 0 || !*argv[0]) {
    errno = ENOENT;
    child_fail(child, STAGE_NOT_FOUND, "");
  }
  announce(child);
  if (child->init >= 0) run_init(child, argv, args.string_count, envp);
  if (strchr(argv[0], '/')) {
    execve(argv[0], argv, envp);
    fail_exec(child, argv[0], argv[0]);
  }
  if (path) search(child, path, argv, envp);
  errno = ENOENT;
  child_fail(child, STAGE_NOT_FOUND, argv[0]);
}
