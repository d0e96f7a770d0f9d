/* Functions that give way. */
#include <criterion/criterion.h>

#include <string.h>

#include "base/memory.h"
#include "comm/fiber.h"

struct tale {
    char text[64];
    int steps;
    char letter;
};

static void tell(void *argument)
{
    struct tale *tale = argument;
    double kept[4] = {1.5, 2.5, 3.5, 4.5}; /* what lies on its stack, and in registers, is there again */
    for (int i = 0; i < tale->steps; i++) {
        tale->text[strlen(tale->text)] = tale->letter;
        if (i + 1 < tale->steps)
            ls_fiber_yield();
        kept[i % 4] += 1;
    }
    cr_assert(kept[0] + kept[1] + kept[2] + kept[3] == 12.0 + tale->steps);
}

Test(fiber, several_go_on_where_they_gave_way)
{
    struct ls_fiber *fibers[3];
    struct tale tale[3] = {{"", 3, 'a'}, {"", 1, 'b'}, {"", 5, 'c'}};
    for (int i = 0; i < 3; i++)
        cr_assert(ls_fiber_create(&fibers[i], NULL) == LS_OK);
    for (int round = 0; round < 2; round++) { /* a fiber that has returned starts again */
        for (int i = 0; i < 3; i++)
            ls_fiber_start(fibers[i], tell, &tale[i]);
        cr_assert(ls_fiber_is_running(fibers[0]) && !ls_fiber_is_running(fibers[1]) && !ls_fiber_is_inside());
        for (int turn = 0; turn < 6; turn++) /* more often than needed: nothing happens then */
            for (int i = 0; i < 3; i++)
                ls_fiber_resume(fibers[i]);
        for (int i = 0; i < 3; i++)
            cr_assert(!ls_fiber_is_running(fibers[i]));
    }
    cr_assert_str_eq(tale[0].text, "aaaaaa");
    cr_assert_str_eq(tale[1].text, "bb");
    cr_assert_str_eq(tale[2].text, "cccccccccc");
    for (int i = 0; i < 3; i++)
        ls_fiber_destroy(fibers[i]);
    ls_fiber_destroy(NULL);
    cr_assert(ls_memory_balance() == 0);
}
