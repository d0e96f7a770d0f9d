/* The comparator must be able to fail. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "compare.h"

static char message[200];

static int compare_one(struct compare how, float found, float expected)
{
    return compare_floats(how, "x", 1, &found, &expected, message, sizeof message);
}

Test(comparator, bits_tell_zeros_and_neighbours_apart)
{
    cr_assert(compare_one(COMPARE_BITS, 1.0f, 1.0f));
    cr_assert_not(compare_one(COMPARE_BITS, -0.0f, 0.0f));
    cr_assert_not(compare_one(COMPARE_BITS, nextafterf(1.0f, 2.0f), 1.0f));
}

Test(comparator, what_is_not_finite_fails_first)
{
    cr_assert_not(compare_one(COMPARE_BITS, NAN, NAN));
    cr_assert_not(compare_one(COMPARE_BITS, INFINITY, INFINITY));
    cr_assert_not(compare_one(COMPARE_CLOSE(INFINITY, 0), NAN, 1.0f));
    cr_assert_not(compare_one(COMPARE_CLOSE(INFINITY, 0), 1.0f, INFINITY));
}

Test(comparator, non_finite_data_where_the_case_allows_them)
{
    cr_assert(compare_one(COMPARE_BITS_OR_NAN, NAN, -NAN));
    cr_assert(compare_one(COMPARE_BITS_OR_NAN, INFINITY, INFINITY));
    cr_assert_not(compare_one(COMPARE_BITS_OR_NAN, INFINITY, -INFINITY));
    cr_assert_not(compare_one(COMPARE_BITS_OR_NAN, NAN, 1.0f));
    cr_assert_not(compare_one(COMPARE_BITS_OR_NAN, 1.0f, NAN));
}

Test(comparator, tolerance_is_absolute_plus_relative_to_expected)
{
    cr_assert(compare_one(COMPARE_CLOSE(0.5, 0.0), 1.5f, 1.0f));
    cr_assert_not(compare_one(COMPARE_CLOSE(0.5, 0.0), 1.5625f, 1.0f));
    cr_assert(compare_one(COMPARE_CLOSE(0.0, 0.5), 150.0f, 100.0f));
    cr_assert_not(compare_one(COMPARE_CLOSE(0.0, 0.5), 100.0f, 200.5f));
}

Test(comparator, message_names_the_first_that_differs)
{
    const float found[] = {1, 2, 3, 5}, expected[] = {1, 2, 4, 4};
    cr_assert_not(compare_floats(COMPARE_BITS, "dw", 4, found, expected, message, sizeof message));
    cr_assert(strstr(message, "dw[2]"), "%s", message);
    cr_assert(strstr(message, "2 of 4"), "%s", message);
}
