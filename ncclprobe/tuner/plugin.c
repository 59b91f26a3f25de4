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
 * Every change raises the generation, and every answer has that of its time: an answer with the generation that a
 * force returned was given under it, and says whether it was refused. All functions may be called from any thread.
 */
