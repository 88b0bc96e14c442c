/* SPDX-License-Identifier: MIT */
/* Barriers in memory: every thread writes its word, and reads another when the phase is over. */
#include "tests/instructions/every/recipes.h"

/* The barrier expects `count`; the word is written; everything arrives by `arrivals`. */
#define PHASE(count, arrivals, wait)                                                               \
    "@first mbarrier.init.shared.b64 [bar], " count ";\nbar.sync 0;\nmov.u32 r1, 1;\n"             \
    "st.shared.u32 [a], v;\n" arrivals wait "ld.shared.u32 v, [b];\ncvt.u64.u32 m, v;\n"
#define WAIT   "wait: mbarrier.try_wait.parity.shared.b64 done, [bar], 0;\n@!done bra wait;\n"
#define ARRIVE "mbarrier.arrive.shared.b64 state, [bar];\n"
/* Bytes are expected, and come when all threads have arrived. */
#define BYTES(first_come, then)                                                                    \
    PHASE("64",                                                                                    \
          "mov.u32 r1, 16;\n@!first bra others;\n" first_come "others: " ARRIVE                    \
          "bar.sync 0;\nmbarrier.test_wait.parity.shared.b64 done, [bar], 0;\n@done "              \
          "trap;\nbar.sync 0;\n"                                                                   \
          "@!first bra wait;\n" then,                                                              \
          WAIT)
#define COMPLETE "mbarrier.complete_tx.shared::cta.b64 [bar], 16;\n"

/* What waits is the form. */
#define WAITED(instruction)                                                                        \
    PHASE("64", ARRIVE "mov.u32 r2, 100000;\nmov.u32 r3, 0;\n",                                    \
          "wait: " instruction "@!done bra wait;\n")

const struct recipe recipes_of_barriers[] = {
    {"mbarrier.init*", NULL, "[bard], r4",
     "mov.u32 r4, 64;\n@!first bra over;\n$I\nover: bar.sync 0;\nst.shared.u32 [a], v;\n" ARRIVE
         WAIT "ld.shared.u32 v, [b];\ncvt.u64.u32 m, v;\n",
     expect_other},
    {"mbarrier.inval*", NULL, "[bard]",
     PHASE("64", ARRIVE,
           WAIT) "bar.sync 0;\n@!first bra over;\n$I\nst.shared.u64 [bar], 7;\nover:\n",
     expect_other},
    {"mbarrier.expect_tx*", NULL, "[bard], r1", BYTES("$I\n", COMPLETE), expect_other},
    {"mbarrier.complete_tx*", NULL, "[bard], r1",
     BYTES("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [bar], 16;\n", "$I\n"), expect_other},
    {"mbarrier.arrive*", "_, [%d2], 3", "_, [bard], 3", PHASE("192", "$I\n", WAIT), expect_other},
    {"mbarrier.arrive*.expect_tx*", "_, [%d2], %r1", "_, [bard], r1",
     PHASE("64",
           "mov.u32 r1, 4;\n$I\nbar.sync 0;\n"
           "mbarrier.test_wait.parity.shared.b64 done, [bar], 0;\n@done trap;\nbar.sync 0;\n"
           "mbarrier.complete_tx.shared::cta.b64 [bar], 4;\n",
           WAIT),
     expect_other},
    {"mbarrier.arrive*.noComplete*", "%d1, [%d2], %r1", "state, [bard], r1",
     PHASE("65", "$I\nbar.sync 0;\n@!first bra wait;\n" ARRIVE, WAIT), expect_other},
    {"mbarrier.arrive*", "%d1, [%d2]", "state, [bard]", PHASE("64", "$I\n", WAIT), expect_other},
    {"mbarrier.*_wait.parity*", "%p1, [%d2], %r3", "done, [bard], r3", WAITED("$I\n"),
     expect_other},
    {"mbarrier.test_wait*", "%p1, [%d2], %d3", "done, [bard], state", WAITED("$I\n"), expect_other},
    {"mbarrier.try_wait*", "%p1, [%d2], %d3, %r1", "done, [bard], state, r2", WAITED("$I\n"),
     expect_other},
    {0},
};
