/* base/elementary.h against binary64, against its own special values, and scalar against vector, bit for bit.
 *
 * `make exhaustive` does the same sweep over every binary32; this one takes a prime step through the bit
 * patterns and every pattern near the places where a function changes its formula. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "base/hash.h"
#include "elementary_cases.h"

/* Sanitizers see the same with fewer numbers: 8,000 of each exponent, and every one near a seam. */
#ifdef __SANITIZE_ADDRESS__
enum { SWEEP_STEP = 1021 };
#else
enum { SWEEP_STEP = 61 };
#endif
enum { CHUNK = 4096, NEAR = 4096 };

static const double tolerance_ulp = 2.0;

struct worst {
    double error;
    float x, y;
};

static void measure(const struct elementary_case *function, case_loop *loop, ptrdiff_t n, const float *x,
                    struct worst *worst)
{
    float y[CHUNK];
    loop(n, y, x);
    for (ptrdiff_t i = 0; i < n; i++) {
        const double error = case_ulp_error(y[i], function->exact((double)x[i]));
        if (error > worst->error)
            *worst = (struct worst){error, x[i], y[i]};
    }
}

static void assert_accurate(const struct elementary_case *function, struct worst worst)
{
    cr_log_info("%s: at most %.4f ulp, at %a -> %a", function->name, worst.error, (double)worst.x,
                (double)worst.y);
    cr_assert(worst.error <= tolerance_ulp, "%s(%a) = %a, exactly %a: %.3f ulp", function->name,
              (double)worst.x, (double)worst.y, function->exact((double)worst.x), worst.error);
}

static struct criterion_test_params every_function(void)
{
    static int which[N_ELEMENTARY_CASES];
    for (int i = 0; i < N_ELEMENTARY_CASES; i++)
        which[i] = i;
    return cr_make_param_array(int, which, N_ELEMENTARY_CASES);
}

ParameterizedTestParameters(elementary, sweep)
{
    return every_function();
}

ParameterizedTest(int *which, elementary, sweep)
{
    const struct elementary_case *function = &elementary_cases[*which];
    case_loop *loop = case_fastest_loop(function);
    struct worst worst = {-1, 0, 0};
    float x[CHUNK];
    for (uint64_t bits = 0; bits <= UINT32_MAX;) {
        ptrdiff_t n = 0;
        for (; n < CHUNK && bits <= UINT32_MAX; bits += SWEEP_STEP)
            x[n++] = ls_float((uint32_t)bits);
        measure(function, loop, n, x, &worst);
    }
    assert_accurate(function, worst);
}

/* Zeros and the smallest numbers, the edge of the subnormals, infinities and NaNs, overflow and underflow of
 * exp, the ends of the logs' interval, the seams of tanh and erf, where they and sigmoid saturate, halves of
 * ln 2. */
static const float anchors[] = {
    0.0f,     0x1p-126f,  0x1p-24f,      INFINITY,      0x1.fffffep+127f, 1.0f,    2.0f / 3,
    4.0f / 3, 0.5f,       0.55f,         0.96f,         3.919206f,        4.0f,    9.010914f,
    10.0f,    17.328680f, 20.0f,         88.722839f,    87.336545f,       89.0f,   103.97208f,
    105.0f,   1.0f / 3,   0x1.62e43p-2f, 0x1.0a2b22p0f, 0x1p23f,          0x1p24f, 0x1.555556p127f,
    0x1p64f,
};

ParameterizedTestParameters(elementary, every_number_near_a_seam)
{
    return every_function();
}

ParameterizedTest(int *which, elementary, every_number_near_a_seam)
{
    const struct elementary_case *function = &elementary_cases[*which];
    struct worst worst = {-1, 0, 0};
    for (size_t a = 0; a < sizeof anchors / sizeof anchors[0]; a++) {
        for (uint32_t sign = 0; sign < 2; sign++) {
            float x[CHUNK];
            for (uint32_t i = 0; i < NEAR; i++)
                x[i] = ls_float((ls_bits(anchors[a]) ^ sign << 31) + i - NEAR / 2);
            measure(function, case_fastest_loop(function), NEAR, x, &worst);
        }
    }
    assert_accurate(function, worst);
}

/* The bits of every ISA's loop and of the scalar call, over patterns from the whole range and over row
 * lengths around the vector width, so that remainder loops are seen too. */
ParameterizedTestParameters(elementary, scalar_and_vector_are_the_same_bits)
{
    return every_function();
}

static void assert_loop_equals_scalar(const struct elementary_case *function, int isa, ptrdiff_t n,
                                      const float *x)
{
    float y[CHUNK];
    function->loop[isa](n, y, x);
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint32_t wanted = ls_bits(function->one(x[i]));
        cr_assert(ls_bits(y[i]) == wanted, "%s, isa %d, element %td of %td: %a gives %08x, scalar %08x",
                  function->name, isa, i, n, (double)x[i], ls_bits(y[i]), wanted);
    }
}

ParameterizedTest(int *which, elementary, scalar_and_vector_are_the_same_bits)
{
    const struct elementary_case *function = &elementary_cases[*which];
    for (int isa = 0; isa < CASE_ISAS; isa++) {
        if (!function->loop[isa] || !case_isa_runs_here((enum case_isa)isa)) {
            cr_log_info("%s: this machine has no ISA %d, not compared", function->name, isa);
            continue;
        }
        float x[CHUNK];
        uint32_t bits = 0;
        for (int chunk = 0; chunk < 128; chunk++) {
            for (int i = 0; i < CHUNK; i++, bits += 8191u)
                x[i] = ls_float(bits);
            assert_loop_equals_scalar(function, isa, chunk < 80 ? chunk : CHUNK, x);
        }
    }
}

/* Exact results that other code leans on: softmax's largest term is exp(0) = 1, a saturated unit has
 * derivative 0. */
Test(elementary, special_values)
{
    const uint32_t nan = LS_NAN_BITS, inf = 0x7f800000u, minus = 0x80000000u, one = 0x3f800000u;
    const struct {
        const char *name;
        uint32_t x, y;
    } cases[] = {
        {"exp", 0, one},
        {"exp", minus, one},
        {"exp", inf, inf},
        {"exp", inf | minus, 0},
        {"exp", 0x42b17218u, inf},         /* the first number whose exponential overflows */
        {"exp", 0x42b17217u, 0x7f7fff84u}, /* and the one before */
        {"exp", 0xc2cff1b4u, 1}, /* the last that is not 0: e^-103.97208 is just over half of 2^-149 */
        {"exp", 0xc2cff1b5u, 0},
        {"exp", nan, nan},
        {"exp", 0xffc12345u, nan},
        {"exp", 0x7f800001u, nan},
        {"log", 0, inf | minus},
        {"log", minus, inf | minus},
        {"log", one, 0},
        {"log", inf, inf},
        {"log", one | minus, nan},
        {"log", 0x80000001u, nan},
        {"log", inf | minus, nan},
        {"log", 0xffc12345u, nan},
        {"log", 1, 0xc2ce8ed0u}, /* -149 ln 2 */
        {"log1p", 0, 0},
        {"log1p", minus, minus},
        {"log1p", 1, 1},
        {"log1p", 0x80000001u, 0x80000001u},
        {"log1p", one, 0x3f317218u}, /* ln 2 */
        {"log1p", one | minus, inf | minus},
        {"log1p", 0xbf800001u, nan},
        {"log1p", inf, inf},
        {"log1p", inf | minus, nan},
        {"log1p", 0x7f800001u, nan},
        {"tanh", 0, 0},
        {"tanh", minus, minus},
        {"tanh", 1, 1},
        {"tanh", 0x80000001u, 0x80000001u},
        {"tanh", inf, one},
        {"tanh", inf | minus, one | minus},
        {"tanh", 0x41200000u, one},
        {"tanh", 0x7fffffffu, nan},
        {"sigmoid", 0, 0x3f000000u},
        {"sigmoid", minus, 0x3f000000u},
        {"sigmoid", inf, one},
        {"sigmoid", inf | minus, 0},
        {"sigmoid", 0xc2cff1b4u, 1},
        {"sigmoid", 0x41a00000u, one},
        {"sigmoid", 0xff800001u, nan},
        {"erf", 0, 0},
        {"erf", minus, minus},
        {"erf", 1, 1},
        {"erf", 0x80000001u, 0x80000001u},
        {"erf", inf, one},
        {"erf", inf | minus, one | minus},
        {"erf", 0x40800000u, one},
        {"erf", 0xff800001u, nan},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
        for (int f = 0; f < N_ELEMENTARY_CASES; f++) {
            if (strcmp(cases[c].name, elementary_cases[f].name) != 0)
                continue;
            const uint32_t y = ls_bits(elementary_cases[f].one(ls_float(cases[c].x)));
            cr_expect(y == cases[c].y, "%s(%08x) = %08x, not %08x", cases[c].name, cases[c].x, y, cases[c].y);
        }
}

/* tanh and erf are odd to the bit; nothing leaves [-1, 1] or [0, 1]. */
Test(elementary, symmetry_and_bounds)
{
    for (uint32_t bits = 0; bits < 0x7f800000u; bits += 10007u) {
        const float x = ls_float(bits), up = ls_tanh(x), down = ls_tanh(-x);
        cr_assert(ls_bits(up) == (ls_bits(down) ^ 0x80000000u), "tanh(%a) = %a but tanh(-that) = %a",
                  (double)x, (double)up, (double)down);
        cr_assert(up <= 1.0f, "tanh(%a) = %a", (double)x, (double)up);
        cr_assert(ls_bits(ls_erf(x)) == (ls_bits(ls_erf(-x)) ^ 0x80000000u) && ls_erf(x) <= 1.0f, "erf(%a)",
                  (double)x);
        cr_assert(ls_sigmoid(x) <= 1.0f && ls_sigmoid(-x) >= 0.0f && ls_sigmoid(-x) <= 0.5f);
        cr_assert(ls_exp(-x) <= 1.0f, "exp(%a) = %a", (double)-x, (double)ls_exp(-x));
    }
}

/* How far z is from the quantile, relative to it: one Newton step with binary64's erfc, on the side where the
 * probability is small and so exact. */
static double quantile_error(float u, float z)
{
    const double side = u < 0.5f ? -1 : 1;
    const double p = u < 0.5f ? (double)u : 1 - (double)u;
    const double tail = 0.5 * erfc(side * (double)z / sqrt(2));
    const double density = exp(-0.5 * (double)z * (double)z) / sqrt(2 * 3.14159265358979323846);
    return fabs((tail - p) / density) / fabs((double)z);
}

Test(normal_quantile, agrees_with_the_distribution)
{
    double worst = 0;
    float at = 0;
    /* Every 211th binary32 in (0, 1), and what ls_uniform can return. */
    for (uint32_t bits = 0x00800000u; bits < 0x3f800000u; bits += 211u) {
        const float u = ls_float(bits);
        const double error = u == 0.5f ? 0 : quantile_error(u, ls_normal_quantile(u));
        if (!(error <= worst)) {
            worst = error;
            at = u;
        }
    }
    for (uint32_t i = 0; i < 1u << 23; i += 13u) {
        const float u = ((float)i + 0.5f) * 0x1p-23f;
        const double error = quantile_error(u, ls_normal_quantile(u));
        if (!(error <= worst)) {
            worst = error;
            at = u;
        }
    }
    cr_log_info("normal_quantile: at most %.3g relative, at %a", worst, (double)at);
    cr_assert(worst <= 1e-6, "normal_quantile(%a) is %.3g off, relatively", (double)at, worst);
}

/* Values of Python's statistics.NormalDist().inv_cdf at the same binary32 arguments; one in each piece of AS
 * 241 and at its seams. */
Test(normal_quantile, known_values)
{
    const struct {
        float u;
        double z;
    } cases[] = {
        {0x1.000000p-2f, -0.674489750196},   {0x1.0624dep-10f, -3.09023229206},
        {0x1.333334p-4f, -1.43953144988},    {0x1.333318p-4f, -1.43953218676},
        {0x1.33334ep-4f, -1.43953076565},    {0x1.99999ap-2f, -0.253347087708},
        {0x1.000004p-1f, 2.98813375787e-07}, {0x1.800000p-1f, 0.674489750196},
        {0x1.d9999ap-1f, 1.43953155515},     {0x1.d9999ep-1f, 1.43953239729},
        {0x1.ff7ceep-1f, 3.09023612985},     {0x1.fffffcp-1f, 5.16657811973},
        {0x1.000000p-24f, -5.29470408485},   {0x1.e58b5ap-37f, -6.65883850067},
        {0x1.e91012p-37f, -6.65777707226},   {0x1.ec94cap-37f, -6.65672309211},
        {0x1.79ca10p-67f, -9.26234009319},   {0x1.4484c0p-100f, -11.4640246882},
        {0x1.05563cp-126f, -12.9483686722},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const double z = (double)ls_normal_quantile(cases[c].u);
        cr_expect(fabs(z - cases[c].z) <= 1e-6 * fabs(cases[c].z), "normal_quantile(%a) = %.9g, not %.9g",
                  (double)cases[c].u, z, cases[c].z);
    }
    cr_expect(ls_bits(ls_normal_quantile(0.5f)) == 0, "the median is +0");
}

Test(normal_quantile, odd_about_one_half_and_increasing)
{
    float before = -INFINITY;
    for (uint32_t i = 0; i < 1u << 22; i += 3u) {
        const float u = ((float)i + 0.5f) * 0x1p-23f;
        const float z = ls_normal_quantile(u);
        cr_assert(ls_bits(ls_normal_quantile(1.0f - u)) == (ls_bits(z) ^ 0x80000000u), "not odd at %a",
                  (double)u);
        /* Rounding may make neighbours 2^-23 apart step back by an ulp or two, never more. */
        cr_assert(z >= before - 4e-7f * (1 - before), "normal_quantile falls from %a to %a at %a",
                  (double)before, (double)z, (double)u);
        before = z > before ? z : before;
    }
}

/* The definition, frozen: 200,000 results of each function, the same bits on every compiler, ISA and
 * architecture.  A change of a formula changes these and must raise LS_CONTRACT_VERSION. */
Test(elementary, results_are_the_contract)
{
    enum { N = 200000 };
    static float x[N], y[N];
    static const char *const wanted[] = {
        "c66235d88a1aca3d81e5b272208d2f72", "bc69685ad26474d740226795972c7dda",
        "6b3f454949860ba1477d1c98fd0a8c01", "f08f7850b561d006f0e8a19910ee6a2d",
        "13807c7c85ec352484e938595d27b15c", "7e8f1ac3e3c399ffb574da3f5d7f346d",
        "c0731dd2f0c594c309e3762d0de1f370",
    };
    for (int f = 0; f <= N_ELEMENTARY_CASES; f++) {
        const int quantile = f == N_ELEMENTARY_CASES;
        for (uint32_t i = 0; i < N; i++)
            x[i] = quantile ? ((float)i + 0.5f) / (float)N : ls_float(i * 21474u + i % 97u);
        for (ptrdiff_t i = 0; quantile && i < N; i++)
            y[i] = ls_normal_quantile(x[i]);
        case_loop *const loop = quantile ? NULL : case_fastest_loop(&elementary_cases[f]);
        if (loop)
            loop(N, y, x);
        char text[LS_HASH_TEXT];
        ls_hash_text(ls_hash_bytes(y, sizeof y), text);
        cr_expect(strcmp(text, wanted[f]) == 0, "%s: %s, not %s",
                  quantile ? "normal_quantile" : elementary_cases[f].name, text, wanted[f]);
    }
}
