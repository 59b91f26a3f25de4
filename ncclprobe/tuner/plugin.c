/* A tuner plugin for NCCL: forces a setting, applies a table by message size, or leaves NCCL alone.
 *
 * NCCL loads it from NCCL_TUNER_PLUGIN=/absolute/path and asks it at every enqueue (under graph capture at capture
 * time only). Whoever opens the same file in the same process shares its state, and changes what NCCL does next. It
 * never fails an operation: every function that NCCL calls returns success, and whatever is wrong leaves NCCL alone.
 *
 * What is in force, first hit wins:
 *   1. a forced setting: ncclprobe_force(), or NCCLPROBE_TUNER_FORCE=algo[,proto[,channels]]
 *   2. a table's row:    ncclprobe_load_table(), or NCCLPROBE_TUNER_TABLE=/path/to.csv (docs/tuner-plugin.md)
 *   3. nothing
 * The variables are read once, when the first communicator is initialised; what was said through ctypes before that
 * stands. NCCLPROBE_TUNER_RECORD=/path/prefix counts questions and answers in the file /path/prefix.PID.
 *
 * For ctypes (plugin.h has the structures and numbers, live.py is their user):
 *   ncclprobe_abi()                                  NCCLPROBE_ABI; the structures have that layout
 *   ncclprobe_force(collective, algo, proto, chans)  NCCL's numbers, -1 for all collectives and for what is left to
 *                                                    NCCL; all -1 releases that collective. The new generation, or
 *                                                    -1 where a number is out of range
 *   ncclprobe_release()                              forgets all that is forced; the new generation
 *   ncclprobe_load_table(path, error, size)          its rows, or -1 with the reason; then nothing has changed
 *   ncclprobe_drop_table()                           the new generation
 *   ncclprobe_answers(after, answers, room)          copies the answers with a number above `after`, oldest first,
 *                                                    of the last ANSWERS at most; how many
 *   ncclprobe_state(state)                           counts, the generation in force, the table's rows
 *   ncclprobe_repeat(reduce, gather, op, ...)        calls one of NCCL's collectives so often, without an interpreter's
 *                                                    time between two calls; gather for those without operation or root
 * Every change raises the generation, and every answer has that of its time: an answer with the generation that a
 * force returned was given under it, and says whether it was refused. All functions may be called from any thread.
 */
#define _POSIX_C_SOURCE 200809L

#include "plugin.h"

#include <float.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "plugin_record.h"
#include "plugin_table.h"

#define EXPORT __attribute__((visibility("default")))
enum { SLOTS = 16, ANSWERS = 4096, TEXT = 512 };

struct communicator { uint64_t id; int32_t nranks, nnodes; nccl_log log; };
struct wish { bool set; int algo, proto, channels; };

/* Everything below is read and written under this lock alone. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct wish forced[SLOTS]; /* by NCCL's number of the collective */
static struct table *table;
static uint64_t generation, opened, closed, asked;
static struct ncclprobe_answer answers[ANSWERS]; /* number n in [(n - 1) % ANSWERS] */
static bool started, record_begun;               /* the variables were read */
static bool force_said, table_said;              /* through ctypes */

/* ---- a process's start, fork and end */

static void say(nccl_log log, int level, const char *format, ...) {
  char text[TEXT];
  va_list rest;
  if (!log) return;
  va_start(rest, format);
  vsnprintf(text, sizeof text, format, rest);
  va_end(rest);
  for (char *c = text; *c; c++)
    if ((unsigned char)*c < 0x20) *c = '?'; /* a path must not look like a line of NCCL's */
  log(level, SUBSYSTEM_INIT | SUBSYSTEM_TUNING, "plugin.c", 0, "ncclprobe tuner: %s", text);
}

static const char *variable(const char *name) {
  const char *value = getenv(name);
  return value && *value ? value : NULL;
}

static bool read_wish(const char *text, struct wish *wish) {
  struct span field[3];
  int count = split((struct span){text, text + strlen(text)}, field, 3);
  *wish = (struct wish){true, -1, -1, -1};
  return count <= 3 && read_word(field[0], ALGO_NAMES, &wish->algo) &&
         (count < 2 || read_word(field[1], PROTO_NAMES, &wish->proto)) &&
         (count < 3 || read_channels(field[2], &wish->channels));
}

static void force(int collective, struct wish wish) {
  if (wish.algo < 0 && wish.proto < 0 && wish.channels < 0) wish.set = false;
  for (int i = 0; i < SLOTS; i++)
    if (collective < 0 || collective == i) forced[i] = wish;
  generation++;
}

static void put_table(struct table *replacement) {
  free(table);
  table = replacement;
  generation++;
}

static void start_force(nccl_log log, const char *text) {
  struct wish wish;
  if (!text || force_said) return;
  if (read_wish(text, &wish)) force(-1, wish);
  else say(log, LOG_WARN, "NCCLPROBE_TUNER_FORCE is algo[,proto[,channels]], not '%s'; nothing is forced", text);
}

static void start_table(nccl_log log, const char *path) {
  char error[TEXT];
  if (!path || table_said) return;
  struct table *found = table_read(path, error, sizeof error);
  if (found) put_table(found);
  else say(log, LOG_WARN, "NCCLPROBE_TUNER_TABLE=%s: %s; NCCL is left alone", path, error);
}

static void start_record(nccl_log log, const char *prefix) {
  char path[RECORD_PATH];
  int problem = prefix ? record_open(prefix, path) : 0;
  if (problem) say(log, LOG_WARN, "NCCLPROBE_TUNER_RECORD=%s: %s; nothing is recorded", prefix, strerror(problem));
}

static void start(nccl_log log) {
  if (!record_begun) start_record(log, variable("NCCLPROBE_TUNER_RECORD"));
  record_begun = true;
  if (started) return;
  started = true;
  start_force(log, variable("NCCLPROBE_TUNER_FORCE"));
  start_table(log, variable("NCCLPROBE_TUNER_TABLE"));
}

static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }
static void in_child(void) { /* which counts in a file of its own, from its first question on */
  record_close();
  record_begun = false;
  pthread_mutex_unlock(&lock);
}
__attribute__((constructor)) static void when_loaded(void) { pthread_atfork(before_fork, after_fork, in_child); }

/* ---- a communicator's start and end */

static int32_t narrowed(size_t number) { return number > INT32_MAX ? INT32_MAX : (int32_t)number; }

static int begin(int api, void **context, uint64_t id, size_t nranks, size_t nnodes, nccl_log log) {
  struct communicator *made = calloc(1, sizeof *made);
  if (made) *made = (struct communicator){id, narrowed(nranks), narrowed(nnodes), log};
  if (context) *context = made; /* NULL is borne below: to fail here would fail the communicator */
  pthread_mutex_lock(&lock);
  start(log);
  opened++;
  say(log, LOG_INFO, "interface %d, ranks: %zu, nodes: %zu, %s, %s", api, nranks, nnodes,
      table ? "a table is in force" : "no table", record ? "recording" : "not recording");
  pthread_mutex_unlock(&lock);
  return NCCL_SUCCESS;
}

static int end(void *context) {
  pthread_mutex_lock(&lock);
  closed++;
  pthread_mutex_unlock(&lock);
  free(context);
  return NCCL_SUCCESS;
}

/* ---- decisions */

/* Note a question with what is wished for it, under the lock. */
static struct ncclprobe_answer ask(int api, const void *context, int collective, size_t bytes, int pipe_ops) {
  const struct communicator *of = context;
  struct ncclprobe_answer answer = {
      .number = ++asked,  .api = api,         .collective = collective, .bytes = bytes, .pipe_ops = pipe_ops,
      .wanted_algo = -1,  .wanted_proto = -1, .wanted_channels = -1,    .algo = -1,     .proto = -1,
      .registered = -1,
  };
  if (of) answer.comm_id = of->id, answer.nranks = of->nranks, answer.nnodes = of->nnodes;
  start(of ? of->log : NULL);
  answer.generation = generation;
  struct wish wish = {.set = false};
  const struct row *row = NULL;
  if (collective >= 0 && collective < SLOTS) wish = forced[collective];
  if (wish.set) answer.source = FORCED;
  else if ((row = table_find(table, &answer))) {
    answer.source = FROM_TABLE;
    wish = (struct wish){true, row->algo, row->proto, row->channels};
  }
  if (!wish.set) return answer;
  answer.wanted_algo = wish.algo, answer.wanted_proto = wish.proto, answer.wanted_channels = wish.channels;
  return answer;
}

static void keep(const struct ncclprobe_answer *answer) {
  answers[(answer->number - 1) % ANSWERS] = *answer;
  record_add(answer);
}

/* Where NCCL takes a number of channels as it is, even beyond those that the communicator has.
 * Source: NCCL 2.22.3 to 2.30.7, src/enqueue.cc (``isCollnet``) */
static bool takes_any_channels(int algo, int nnodes) {
  return algo == COLLNET_DIRECT || algo == COLLNET_CHAIN || (algo == NVLS && nnodes > 1);
}

/* The index of the smallest cost among those that NCCL can run and the wish allows; -1 for none. */
static int cheapest(const float *costs, int algos, int protos, int algo, int proto) {
  int best = -1;
  for (int i = 0; i < algos * protos; i++) {
    bool allowed = (algo < 0 || i / protos == algo) && (proto < 0 || i % protos == proto);
    if (allowed && costs[i] >= 0.0f && costs[i] <= FLT_MAX && (best < 0 || costs[i] < costs[best])) best = i;
  }
  return best;
}

static void make_cheapest(float *costs, int count, int entry) {
  for (int i = 0; i < count; i++)
    if (costs[i] == 0.0f) costs[i] = FLT_MIN;
  costs[entry] = 0.0f;
}

/* From v3 on NCCL takes the smallest cost that is not negative; a negative one it cannot run. */
static void choose_by_costs(struct ncclprobe_answer *answer, float *costs, int algos, int protos, int *channels) {
  if (!costs || algos < 1 || protos < 1) return;
  int entry = cheapest(costs, algos, protos, answer->wanted_algo, answer->wanted_proto);
  bool entry_wanted = answer->wanted_algo >= 0 || answer->wanted_proto >= 0;
  bool channels_wanted = answer->wanted_channels > 0;
  if (entry < 0 && (entry_wanted || channels_wanted)) answer->refused = UNAVAILABLE;
  else if (channels_wanted && takes_any_channels(entry / protos, answer->nnodes)) answer->refused = UNCHECKED;
  if (answer->refused) entry = cheapest(costs, algos, protos, -1, -1);
  else if (entry_wanted) make_cheapest(costs, algos * protos, entry);
  if (!answer->refused && channels_wanted) *channels = answer->channels = answer->wanted_channels;
  if (entry >= 0) answer->algo = entry / protos, answer->proto = entry % protos;
}

/* What exists where NCCL shows no costs. Source: NCCL 2.21.5, src/graph/tuning.cc and src/enqueue.cc */
static bool exists(const struct ncclprobe_answer *answer, bool collnet, bool nvls) {
  bool all_reduce = answer->collective == ALL_REDUCE, one_node = answer->nnodes <= 1;
  bool simple = answer->wanted_proto == SIMPLE;
  bool rooted = answer->collective == BROADCAST || answer->collective == REDUCE;
  if (answer->nranks == 1) return answer->wanted_algo == RING && simple;
  switch (answer->wanted_algo) {
  case RING: return true;
  case TREE: return all_reduce;
  case COLLNET_DIRECT: return simple && collnet && !rooted;
  case COLLNET_CHAIN: return simple && collnet && all_reduce;
  case NVLS: return simple && nvls && !rooted && (one_node || (collnet && all_reduce));
  case NVLS_TREE: return simple && nvls && all_reduce && !one_node;
  default: return false;
  }
}

static void choose_blind(struct ncclprobe_answer *answer, bool collnet, bool nvls, int *algo, int *proto,
                         int *channels) {
  bool algo_wanted = answer->wanted_algo >= 0, proto_wanted = answer->wanted_proto >= 0;
  if (algo_wanted != proto_wanted) answer->refused = HALF_A_CHOICE;
  else if (algo_wanted && !exists(answer, collnet, nvls)) answer->refused = UNAVAILABLE;
  else if (answer->wanted_proto == LL128) answer->refused = UNCHECKED;
  if (answer->refused) return;
  if (algo_wanted) {
    *algo = answer->algo = answer->wanted_algo;
    *proto = answer->proto = answer->wanted_proto;
  }
  if (answer->wanted_channels > 0) *channels = answer->channels = answer->wanted_channels;
}

static int decide(int api, void *context, int collective, size_t bytes, int pipe_ops, float **costs, int algos,
                  int protos, int registered, int *channels) {
  pthread_mutex_lock(&lock);
  struct ncclprobe_answer answer = ask(api, context, collective, bytes, pipe_ops);
  answer.registered = registered;
  choose_by_costs(&answer, (float *)(void *)costs, algos, protos, channels); /* floats, whatever the type says */
  keep(&answer);
  pthread_mutex_unlock(&lock);
  return NCCL_SUCCESS;
}

/* ---- what NCCL calls */

static int init_2(size_t ranks, size_t nodes, nccl_log log, void **context) {
  return begin(2, context, 0, ranks, nodes, log);
}
static int init_3(size_t ranks, size_t nodes, nccl_log log, void **context) {
  return begin(3, context, 0, ranks, nodes, log);
}
static int init_4(size_t ranks, size_t nodes, nccl_log log, void **context) {
  return begin(4, context, 0, ranks, nodes, log);
}
static int init_5(void **context, uint64_t id, size_t ranks, size_t nodes, nccl_log log, void *domains,
                  void *constants) {
  (void)domains, (void)constants;
  return begin(5, context, id, ranks, nodes, log);
}
static int init_6(void **context, uint64_t id, size_t ranks, size_t nodes, nccl_log log, void *domains,
                  void *constants) {
  (void)domains, (void)constants;
  return begin(6, context, id, ranks, nodes, log);
}

static int choose_2(void *context, int collective, size_t bytes, int collnet, int nvls, int pipe_ops, int *algo,
                    int *proto, int *channels) {
  pthread_mutex_lock(&lock);
  struct ncclprobe_answer answer = ask(2, context, collective, bytes, pipe_ops);
  choose_blind(&answer, collnet == 1, nvls == 1, algo, proto, channels);
  keep(&answer);
  pthread_mutex_unlock(&lock);
  return NCCL_SUCCESS;
}
static int choose_3(void *context, int collective, size_t bytes, int ops, float **costs, int algos, int protos,
                    int *channels) {
  return decide(3, context, collective, bytes, ops, costs, algos, protos, -1, channels);
}
static int choose_4(void *context, int collective, size_t bytes, int ops, float **costs, int algos, int protos,
                    int registered, int *channels) {
  return decide(4, context, collective, bytes, ops, costs, algos, protos, registered != 0, channels);
}
static int choose_5(void *context, int collective, size_t bytes, int ops, float **costs, int algos, int protos,
                    int registered, int *channels) {
  return decide(5, context, collective, bytes, ops, costs, algos, protos, registered != 0, channels);
}
static int choose_6(void *context, int collective, size_t bytes, int ops, float **costs, int algos, int protos,
                    int registered, int *channels) {
  return decide(6, context, collective, bytes, ops, costs, algos, protos, registered != 0, channels);
}

#define NAME "ncclprobe"
extern const tuner_v2 ncclTunerPlugin_v2;
extern const tuner_v3 ncclTunerPlugin_v3;
extern const tuner_v4 ncclTunerPlugin_v4;
extern const tuner_v5 ncclTunerPlugin_v5;
extern const tuner_v6 ncclTunerPlugin_v6;
EXPORT const tuner_v2 ncclTunerPlugin_v2 = {NAME, init_2, choose_2, end};
EXPORT const tuner_v3 ncclTunerPlugin_v3 = {NAME, init_3, choose_3, end};
EXPORT const tuner_v4 ncclTunerPlugin_v4 = {NAME, init_4, choose_4, end};
EXPORT const tuner_v5 ncclTunerPlugin_v5 = {NAME, init_5, choose_5, end};
EXPORT const tuner_v6 ncclTunerPlugin_v6 = {NAME, init_6, choose_6, end, NULL}; /* NULL: NCCL's own chunk size */

/* ---- what ctypes calls */

EXPORT uint32_t ncclprobe_abi(void) { return NCCLPROBE_ABI; }

EXPORT int64_t ncclprobe_force(int collective, int algo, int proto, int channels) {
  bool known = collective >= -1 && collective < TUNED_COLLECTIVES && algo >= -1 && algo < ALGORITHMS && proto >= -1 &&
               proto < PROTOCOLS && channels >= -1 && channels != 0 && channels <= MAX_CHANNELS;
  if (!known) return -1;
  pthread_mutex_lock(&lock);
  force(collective, (struct wish){true, algo, proto, channels});
  force_said = true;
  int64_t now = (int64_t)generation;
  pthread_mutex_unlock(&lock);
  return now;
}

EXPORT int64_t ncclprobe_release(void) { return ncclprobe_force(-1, -1, -1, -1); }

static int64_t replace_table(struct table *replacement) {
  pthread_mutex_lock(&lock);
  put_table(replacement);
  table_said = true;
  int64_t now = (int64_t)generation;
  pthread_mutex_unlock(&lock);
  return now;
}

EXPORT int64_t ncclprobe_load_table(const char *path, char *error, size_t size) {
  struct table *found = table_read(path, error, size);
  int64_t rows = found ? (int64_t)found->count : -1;
  if (found) replace_table(found);
  return rows;
}

EXPORT int64_t ncclprobe_drop_table(void) { return replace_table(NULL); }

EXPORT size_t ncclprobe_answers(uint64_t after, struct ncclprobe_answer *copies, size_t room) {
  size_t count = 0;
  pthread_mutex_lock(&lock);
  if (asked > ANSWERS && after < asked - ANSWERS) after = asked - ANSWERS;
  while (after < asked && count < room) copies[count++] = answers[after++ % ANSWERS];
  pthread_mutex_unlock(&lock);
  return count;
}

EXPORT void ncclprobe_state(struct ncclprobe_state *state) {
  pthread_mutex_lock(&lock);
  *state = (struct ncclprobe_state){
      .generation = generation, .asked = asked, .opened = opened, .closed = closed,
      .table_rows = table ? (int64_t)table->count : -1, .recording = record != NULL,
  };
  pthread_mutex_unlock(&lock);
}

EXPORT int ncclprobe_repeat(reduction *reduce, gathering *gather, int op, void *const *buffers, int slots, size_t count,
                            int dtype, void *comm, void *stream, int times) {
  int result = NCCL_SUCCESS;
  for (int i = 0; i < times && result == NCCL_SUCCESS; i++) {
    void *send = buffers[2 * (i % slots)], *receive = buffers[2 * (i % slots) + 1];
    result = gather ? gather(send, receive, count, dtype, comm, stream)
                    : reduce(send, receive, count, dtype, op, comm, stream);
  }
  return result;
}
