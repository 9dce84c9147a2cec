/* Counts the calls that write below a folder, and fails or kills the process at one of them. Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FAIL_ONCE = 0, FAIL_ON = 1, KILL = 2, TEAR = 3 };
static char root[PATH_MAX];
static size_t root_length;
static atomic_long count;
static long at = -1;
static int mode, code;
static char names[1 << 16]; /* of the calls, a line each */
static atomic_long written;

#define REAL(name) \
  static __typeof__(name) *real; \
  if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

void faults_arm(const char *folder, long when, int how, int error) {
  root_length = strlen(folder);
  memcpy(root, folder, root_length + 1);
  at = when, mode = how, code = error;
  atomic_store(&count, 0), atomic_store(&written, 0);
}
long faults_count(void) { return atomic_load(&count); }
const char *faults_names(void) { return names; }

static int below(int folder, const char *path) {
  char full[PATH_MAX];
  if (!root_length) return 0;
  if (path && path[0] == '/') return !strncmp(path, root, root_length);
  if (path && folder == AT_FDCWD) {
    if (!getcwd(full, sizeof full)) return 0;
    return !strncmp(full, root, root_length);
  }
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
  ssize_t length = readlink(link, full, sizeof full - 1);
  if (length < 0) return 0;
  full[length] = 0;
  return !strncmp(full, root, root_length);
}

/* Whether this call is to fail; it does not come back where the process is to die. 2: tear the writing apart first. */
static int falls(const char *name) {
  long number = atomic_fetch_add(&count, 1) + 1;
  long length = strlen(name), place = atomic_fetch_add(&written, length + 1);
  if (place + length + 2 < (long)sizeof names) {
    memcpy(names + place, name, length);
    names[place + length] = '\n';
  }
  if (at < 0 || number < at || (mode != FAIL_ON && number > at)) return 0;
  if (mode == TEAR && (!strcmp(name, "write") || !strcmp(name, "pwrite"))) return 2;
  if (mode == KILL || mode == TEAR) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
  }
  errno = code;
  return 1;
}
static int writes(int flags) { return flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC); }
static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    REAL(name); \
    va_list more; \
    va_start(more, flags); \
    mode_t bits = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; \
    va_end(more); \
    if (writes(flags) && below(AT_FDCWD, path) && falls("open")) return -1; \
    return real(path, flags, bits); \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name) \
  int name(int folder, const char *path, int flags, ...) { \
    REAL(name); \
    va_list more; \
    va_start(more, flags); \
    mode_t bits = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; \
    va_end(more); \
    if (writes(flags) && below(folder, path) && falls("open")) return -1; \
    return real(folder, path, flags, bits); \
  }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int file, const void *content, size_t size) {
  REAL(write);
  if (below(file, NULL)) {
    int how = falls("write");
    if (how == 2) {
      real(file, content, size / 2);
      die();
    }
    if (how) return -1;
  }
  return real(file, content, size);
}
ssize_t pwrite64(int file, const void *content, size_t size, off64_t place) {
  REAL(pwrite64);
  if (below(file, NULL)) {
    int how = falls("pwrite");
    if (how == 2) {
      real(file, content, size / 2, place);
      die();
    }
    if (how) return -1;
  }
  return real(file, content, size, place);
}
ssize_t writev(int file, const struct iovec *parts, int number) {
  REAL(writev);
  if (below(file, NULL) && falls("writev")) return -1;
  return real(file, parts, number);
}
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags) {
  REAL(copy_file_range);
  if (below(to, NULL) && falls("copy_file_range")) return -1;
  return real(from, a, to, b, size, flags);
}
#define ON_FILE(name, word) \
  int name(int file) { \
    REAL(name); \
    if (below(file, NULL) && falls(word)) return -1; \
    return real(file); \
  }
ON_FILE(fsync, "fsync")
ON_FILE(fdatasync, "fsync")
#define CUT(name) \
  int name(int file, off64_t size) { \
    REAL(name); \
    if (below(file, NULL) && falls("ftruncate")) return -1; \
    return real(file, size); \
  }
CUT(ftruncate64)
int ftruncate(int file, off_t size) {
  REAL(ftruncate);
  if (below(file, NULL) && falls("ftruncate")) return -1;
  return real(file, size);
}
#define ON_PATH(name) \
  int name(const char *path) { \
    REAL(name); \
    if (below(AT_FDCWD, path) && falls(#name)) return -1; \
    return real(path); \
  }
ON_PATH(unlink)
ON_PATH(rmdir)
int unlinkat(int folder, const char *path, int flags) {
  REAL(unlinkat);
  if (below(folder, path) && falls("unlink")) return -1;
  return real(folder, path, flags);
}
int mkdir(const char *path, mode_t bits) {
  REAL(mkdir);
  if (below(AT_FDCWD, path) && falls("mkdir")) return -1;
  return real(path, bits);
}
int mkdirat(int folder, const char *path, mode_t bits) {
  REAL(mkdirat);
  if (below(folder, path) && falls("mkdir")) return -1;
  return real(folder, path, bits);
}
int chmod(const char *path, mode_t bits) {
  REAL(chmod);
  if (below(AT_FDCWD, path) && falls("chmod")) return -1;
  return real(path, bits);
}
int fchmodat(int folder, const char *path, mode_t bits, int flags) {
  REAL(fchmodat);
  if (below(folder, path) && falls("chmod")) return -1;
  return real(folder, path, bits, flags);
}
int rename(const char *from, const char *to) {
  REAL(rename);
  if (below(AT_FDCWD, to) && falls("rename")) return -1;
  return real(from, to);
}
int renameat(int a, const char *from, int b, const char *to) {
  REAL(renameat);
  if (below(b, to) && falls("rename")) return -1;
  return real(a, from, b, to);
}
int link(const char *from, const char *to) {
  REAL(link);
  if (below(AT_FDCWD, to) && falls("link")) return -1;
  return real(from, to);
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
  REAL(linkat);
  if (below(b, to) && falls("link")) return -1;
  return real(a, from, b, to, flags);
}
