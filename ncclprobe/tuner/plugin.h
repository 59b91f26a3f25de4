/* What crosses the plugin's borders: NCCL's interface in its versions 2 to 6, our own for ctypes, and the record file.
 *
 * Source of NCCL's part: NCCL 2.21.5 (v2), 2.22.3 (v3), 2.24.3 (v4), 2.28.9 (v5), 2.30.7 (v6), nccl_tuner.h and
 * tuner_v*.h; nccl_common.h for the numbers. An enum is an int there.
 */
#ifndef NCCLPROBE_TUNER_PLUGIN_H
#define NCCLPROBE_TUNER_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

/* ---- NCCL's numbers */

enum { BROADCAST, REDUCE, ALL_GATHER, REDUCE_SCATTER, ALL_REDUCE, TUNED_COLLECTIVES };
enum { TREE, RING, COLLNET_DIRECT, COLLNET_CHAIN, NVLS, NVLS_TREE, PAT, ALGORITHMS };
enum { LL, LL128, SIMPLE, PROTOCOLS };
enum { NCCL_SUCCESS = 0, LOG_WARN = 2, LOG_INFO = 3, SUBSYSTEM_INIT = 0x1, SUBSYSTEM_TUNING = 0x40 };
enum { MAX_CHANNELS = 64 }; /* MAXCHANNELS of NCCL 2.28.9, src/include/device.h */

typedef void (*nccl_log)(int level, unsigned long subsystems, const char *file, int line, const char *format, ...);

/* ---- NCCL's function tables */

typedef int init_v2(size_t nranks, size_t nnodes, nccl_log log, void **context);
typedef int init_v5(void **context, uint64_t comm_id, size_t nranks, size_t nnodes, nccl_log log, void *nvlink_domains,
                    void *constants);
typedef int choose_v2(void *context, int collective, size_t bytes, int collnet, int nvls, int pipe_ops, int *algo,
                      int *proto, int *channels);
typedef int choose_v3(void *context, int collective, size_t bytes, int pipe_ops, float **costs, int algos, int protos,
                      int *channels);
typedef int choose_v4(void *context, int collective, size_t bytes, int pipe_ops, float **costs, int algos, int protos,
                      int registered, int *channels);
typedef int finish(void *context);
typedef int chunk_size_v6(void *context, int collective, size_t bytes, int algo, int proto, int channels, size_t *size);

typedef struct { const char *name; init_v2 *init; choose_v2 *choose; finish *finish; } tuner_v2;
typedef struct { const char *name; init_v2 *init; choose_v3 *choose; finish *finish; } tuner_v3;
typedef struct { const char *name; init_v2 *init; choose_v4 *choose; finish *finish; } tuner_v4;
typedef struct { const char *name; init_v5 *init; choose_v4 *choose; finish *finish; } tuner_v5;
typedef struct { const char *name; init_v5 *init; choose_v4 *choose; finish *finish; chunk_size_v6 *size; } tuner_v6;

/* ---- Our interface for ctypes; plugin.c says what each function does. Mirrored in live.py. */

enum { NCCLPROBE_ABI = 1 };
enum { LEFT_ALONE, FORCED, FROM_TABLE };
enum {
  NOT_REFUSED,
  UNAVAILABLE,  /* NCCL has no such entry for this operation */
  UNCHECKED,    /* NCCL would take it without checking that it is safe */
  HALF_A_CHOICE /* an algorithm without a protocol or the reverse, where NCCL shows no costs (v2) */
};

struct ncclprobe_answer { /* a question of NCCL, and what it was left with */
  uint64_t number;        /* counted from 1 in this process */
  uint64_t generation;    /* of the wish that was in force */
  uint64_t comm_id;       /* 0 before v5 */
  uint64_t bytes;
  int32_t api;            /* 2 to 6 */
  int32_t collective;     /* NCCL's number */
  int32_t nranks, nnodes;
  int32_t pipe_ops;       /* operations that NCCL groups */
  int32_t registered;     /* user buffers; -1 before v4 */
  int32_t source;         /* LEFT_ALONE, FORCED or FROM_TABLE */
  int32_t refused;        /* why the wish was not granted; NCCL's own choice stood */
  int32_t wanted_algo, wanted_proto, wanted_channels; /* -1 where nothing was wished */
  int32_t algo, proto;    /* what NCCL takes: the wish, else its own cheapest; -1 where unknown (v2) */
  int32_t channels;       /* what it was told; 0 where that was left to it */
};

struct ncclprobe_state {
  uint64_t generation;    /* of the wish in force; rises with each change of it */
  uint64_t asked;         /* questions so far: the last answer's number */
  uint64_t opened;        /* communicators that NCCL has initialised with this library */
  uint64_t closed;
  int64_t table_rows;     /* -1 where no table is in force */
  int64_t recording;      /* 1 where a record file is written */
};

uint32_t ncclprobe_abi(void);
int64_t ncclprobe_force(int collective, int algo, int proto, int channels);
int64_t ncclprobe_release(void);
int64_t ncclprobe_load_table(const char *path, char *error, size_t size);
int64_t ncclprobe_drop_table(void);
size_t ncclprobe_answers(uint64_t after, struct ncclprobe_answer *answers, size_t room);
void ncclprobe_state(struct ncclprobe_state *state);

/* NCCL's collectives: with an operation or a root as the fifth argument, and without. */
typedef int reduction(const void *send, void *receive, size_t count, int dtype, int op, void *comm, void *stream);
typedef int gathering(const void *send, void *receive, size_t count, int dtype, void *comm, void *stream);
int ncclprobe_repeat(reduction *reduce, gathering *gather, int op, void *const *buffers, int slots, size_t count,
                     int dtype, void *comm, void *stream, int times);

/* ---- The record file: a header, then entries; native byte order. Read by ncclprobe/workload/recorded.py. */

#define RECORD_MAGIC "ncclprb\n"
enum { RECORD_VERSION = 1, RECORD_ROOM = 4096, RECORD_HOST = 64 };

struct record_header {
  char magic[8];
  uint32_t version, header_bytes, entry_bytes, room;
  int64_t pid;
  uint64_t started_ns;    /* since 1970, UTC */
  uint64_t asked;         /* questions in all */
  uint64_t overflow;      /* those among them that found no room */
  uint8_t host[RECORD_HOST];
};

struct record_entry {     /* one distinct question and answer; in use once count is not 0 */
  uint64_t count;
  uint64_t operations;    /* grouped ones counted each */
  uint64_t bytes;
  int32_t collective, algo, proto, channels, source, refused, nranks, nnodes, api, unused;
};

#endif
