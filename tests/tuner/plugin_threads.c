/* Plays NCCL from several threads while the wish changes, for sanitizers that no interpreter runs under. Ends with 0
 * where every answer was a whole one. Arguments: a good table, a bad one, seconds. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "plugin.h"

extern const tuner_v2 ncclTunerPlugin_v2;
extern const tuner_v3 ncclTunerPlugin_v3;
extern const tuner_v6 ncclTunerPlugin_v6;

static atomic_bool ended;
static atomic_ulong torn, questions;

static void log_nothing(int level, unsigned long subsystems, const char *file, int line, const char *format, ...) {
  (void)level, (void)subsystems, (void)file, (void)line, (void)format;
}

static void judge(int algo, int proto, int channels) {
  int own = algo == TREE && proto == LL && channels == 0, forced = algo == RING && proto == SIMPLE && channels == 9;
  int row = algo == TREE && proto == SIMPLE && channels == 17;
  if (!own && !forced && !row) atomic_fetch_add(&torn, 1);
  atomic_fetch_add(&questions, 1);
}

static void cheapest_of(const float *costs, int *algo, int *proto) {
  int best = 0;
  for (int i = 1; i < ALGORITHMS * PROTOCOLS; i++)
    if (costs[i] >= 0.0f && costs[i] < costs[best]) best = i;
  *algo = best / PROTOCOLS, *proto = best % PROTOCOLS;
}

static void ask_once(void) {
  float costs[ALGORITHMS * PROTOCOLS];
  int algo = -1, proto = -1, channels = 0;
  void *context;
  for (int i = 0; i < ALGORITHMS * PROTOCOLS; i++) costs[i] = i < 2 * PROTOCOLS ? 5.0f + (float)i : -1.0f;
  ncclTunerPlugin_v6.init(&context, 7, 8, 1, log_nothing, NULL, NULL);
  ncclTunerPlugin_v6.choose(context, ALL_REDUCE, 4096, 1, (float **)(void *)costs, ALGORITHMS, PROTOCOLS, 0, &channels);
  ncclTunerPlugin_v6.finish(context);
  cheapest_of(costs, &algo, &proto);
  judge(algo, proto, channels);
  algo = TREE, proto = LL, channels = 0;
  ncclTunerPlugin_v2.init(8, 1, log_nothing, &context);
  ncclTunerPlugin_v2.choose(context, ALL_REDUCE, 4096, 0, 0, 1, &algo, &proto, &channels);
  ncclTunerPlugin_v2.finish(context);
  judge(algo, proto, channels);
}

static void *ask(void *nothing) {
  while (!atomic_load(&ended)) ask_once();
  return nothing;
}

int main(int count, char **arguments) {
  static struct ncclprobe_answer answers[64];
  struct ncclprobe_state state;
  char error[256];
  pthread_t threads[4];
  if (count != 4) return 2;
  time_t until = time(NULL) + atoi(arguments[3]);
  for (int i = 0; i < 4; i++)
    if (pthread_create(&threads[i], NULL, ask, NULL)) return 2;
  while (time(NULL) < until) {
    ncclprobe_force(ALL_REDUCE, RING, SIMPLE, 9);
    ncclprobe_state(&state);
    ncclprobe_answers(state.asked > 8 ? state.asked - 8 : 0, answers, 64);
    ncclprobe_release();
    if (ncclprobe_load_table(arguments[1], error, sizeof error) < 0) return 3;
    if (ncclprobe_load_table(arguments[2], error, sizeof error) >= 0) return 4;
    ncclprobe_drop_table();
  }
  atomic_store(&ended, 1);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  printf("%lu questions, %lu torn\n", atomic_load(&questions), atomic_load(&torn));
  return atomic_load(&torn) || !atomic_load(&questions) ? 1 : 0;
}
