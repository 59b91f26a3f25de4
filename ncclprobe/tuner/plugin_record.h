/* Counts questions and answers in a mapped file, which outlives a kill at any moment; a part of plugin.c.
 *
 * All functions run under plugin.c's lock. Blocks are allocated at once: a disk that fills up later does no harm.
 */
#ifndef NCCLPROBE_TUNER_RECORD_H
#define NCCLPROBE_TUNER_RECORD_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "plugin.h"

enum { RECORD_PATH = 4096, RECORD_NAMES = 100 };
#define RECORD_BYTES (sizeof(struct record_header) + RECORD_ROOM * sizeof(struct record_entry))
#define RECORD_FULL (RECORD_ROOM / 4 * 3) /* leaves gaps, so that a search for what is absent ends soon */

static struct record_header *record;
static uint32_t record_used;

/* A new file of our own: prefix.PID, then prefix.PID.1 ... where another process of that number has been. */
static int record_create(const char *prefix, char *path) {
  for (int i = 0; i < RECORD_NAMES; i++) {
    int length = i ? snprintf(path, RECORD_PATH, "%s.%ld.%d", prefix, (long)getpid(), i)
                   : snprintf(path, RECORD_PATH, "%s.%ld", prefix, (long)getpid());
    if (length < 0 || length >= RECORD_PATH) return errno = ENAMETOOLONG, -1;
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file >= 0 || errno != EEXIST) return file;
  }
  return -1;
}

static void record_begin(struct record_header *header) {
  struct timespec now = {0};
  clock_gettime(CLOCK_REALTIME, &now);
  header->version = RECORD_VERSION;
  header->header_bytes = sizeof *header;
  header->entry_bytes = sizeof(struct record_entry);
  header->room = RECORD_ROOM;
  header->pid = getpid();
  header->started_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
  gethostname((char *)header->host, RECORD_HOST - 1);
  memcpy(header->magic, RECORD_MAGIC, sizeof header->magic); /* last: a file without it was never begun */
}

/* 0, or the number of what is wrong. */
static int record_open(const char *prefix, char *path) {
  struct rlimit most; /* to write beyond it would end the process by a signal */
  if (getrlimit(RLIMIT_FSIZE, &most) == 0 && most.rlim_cur < RECORD_BYTES) return EFBIG;
  int file = record_create(prefix, path);
  if (file < 0) return errno;
  int problem = posix_fallocate(file, 0, (off_t)RECORD_BYTES);
  void *map = problem ? MAP_FAILED : mmap(NULL, RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (!problem && map == MAP_FAILED) problem = errno;
  close(file);
  if (problem) {
    unlink(path);
    return problem;
  }
  record_begin(map);
  record = map;
  record_used = 0;
  return 0;
}

static void record_close(void) {
  if (record) munmap(record, RECORD_BYTES);
  record = NULL;
}

static uint64_t record_hash(const struct record_entry *key) {
  uint64_t hash = 14695981039346656037u; /* FNV-1a, 64 bits */
  size_t from = offsetof(struct record_entry, bytes);
  const unsigned char *bytes = (const unsigned char *)key + from;
  for (size_t i = 0; i < sizeof *key - from; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
  return hash ^ hash >> 32;
}

/* The entry of a key, made where it is new; NULL where there is no more room. */
static struct record_entry *record_entry_of(const struct record_entry *key) {
  struct record_entry *entries = (struct record_entry *)(record + 1);
  size_t from = offsetof(struct record_entry, bytes);
  for (uint64_t at = record_hash(key);; at++) {
    struct record_entry *entry = &entries[at % RECORD_ROOM];
    if (!entry->count) {
      if (record_used >= RECORD_FULL) return NULL;
      record_used++;
      memcpy((char *)entry + from, (const char *)key + from, sizeof *key - from);
      return entry;
    }
    if (!memcmp((char *)entry + from, (const char *)key + from, sizeof *key - from)) return entry;
  }
}

static void record_add(const struct ncclprobe_answer *answer) {
  if (!record) return;
  struct record_entry key = {
      .bytes = answer->bytes,       .collective = answer->collective, .algo = answer->algo,
      .proto = answer->proto,       .channels = answer->channels,     .source = answer->source,
      .refused = answer->refused,   .nranks = answer->nranks,         .nnodes = answer->nnodes,
      .api = answer->api,
  };
  struct record_entry *entry = record_entry_of(&key);
  record->asked++;
  if (!entry) {
    record->overflow++;
    return;
  }
  entry->operations += answer->pipe_ops > 1 ? (uint64_t)answer->pipe_ops : 1;
  __atomic_store_n(&entry->count, entry->count + 1, __ATOMIC_RELEASE); /* last: from here on the entry counts */
}

#endif
