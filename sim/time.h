/* What a simulated node has instead of a processor and memory. */
#ifndef LS_SIM_TIME_H
#define LS_SIM_TIME_H

extern double sim_memory_bandwidth; /* bytes a second of a node */

/* So many seconds of work. */
void sim_pass(double seconds);

/* Collective, before any other.  See stubs.c. */
void sim_share_block(void);

/* Forgets what polls found: time passed since.  See wait.c. */
void sim_forget(void);

#endif
