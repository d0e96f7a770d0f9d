/* Owns the slots.  See roots.h. */
#include "train/roots.h"

#include "base/memory.h"

int64_t ls_pass_end(int64_t at, int64_t end, int64_t pass_leaves)
{
    const int64_t next = (at / pass_leaves + 1) * pass_leaves;
    return next < end ? next : end;
}

int ls_roots_needed(int64_t n_leaves, struct ls_range range, int64_t pass_leaves, int shares)
{
    struct ls_roots dry = {.n_leaves = n_leaves};
    int most = 1;
    for (int64_t at = range.begin; at < range.end; at = ls_pass_end(at, range.end, pass_leaves)) {
        for (int i = 0; i < shares; i++)
            ls_roots_append(
                &dry, ls_share_of((struct ls_range){at, ls_pass_end(at, range.end, pass_leaves)}, i, shares));
        if (dry.n > most)
            most = dry.n;
        ls_roots_merge(&dry, NULL);
    }
    return most;
}

enum ls_code ls_roots_create(struct ls_roots *roots, int n_slots, ptrdiff_t n_floats, struct ls_error *err)
{
    *roots = (struct ls_roots){.n_floats = n_floats};
    roots->slots = ls_alloc((size_t)n_slots, sizeof *roots->slots, "gradient slots", err);
    if (!roots->slots)
        return LS_FAILED;
    for (; roots->n_slots < n_slots; roots->n_slots++) {
        roots->slots[roots->n_slots] = ls_alloc((size_t)n_floats, sizeof(float), "gradients", err);
        if (!roots->slots[roots->n_slots]) {
            ls_roots_release(roots);
            return LS_FAILED;
        }
    }
    return LS_OK;
}

enum ls_code ls_roots_create_in(struct ls_roots *roots, int n_slots, ptrdiff_t n_floats, float *const *slots,
                                struct ls_error *err)
{
    *roots = (struct ls_roots){.n_floats = n_floats, .n_slots = n_slots, .borrowed = 1};
    roots->slots = ls_alloc((size_t)n_slots, sizeof *roots->slots, "gradient slots", err);
    for (int i = 0; roots->slots && i < n_slots; i++)
        roots->slots[i] = slots[i];
    return roots->slots ? LS_OK : LS_FAILED;
}

void ls_roots_release(struct ls_roots *roots)
{
    for (int i = 0; roots->slots && !roots->borrowed && i < roots->n_slots; i++)
        ls_free(roots->slots[i]);
    ls_free(roots->slots);
    *roots = (struct ls_roots){0};
}

void ls_roots_start(struct ls_roots *roots, int64_t n_leaves)
{
    roots->n_leaves = n_leaves;
    roots->n = 0;
}

int ls_roots_append(struct ls_roots *roots, struct ls_range range)
{
    const int added = ls_tree_roots(roots->n_leaves, range, roots->nodes + roots->n);
    roots->n += added;
    return added;
}

int ls_roots_append_cut(struct ls_roots *roots, struct ls_range range, int64_t leaf)
{
    if (leaf < range.begin || leaf >= range.end)
        return ls_roots_append(roots, range);
    return ls_roots_append(roots, (struct ls_range){range.begin, leaf}) +
           ls_roots_append(roots, (struct ls_range){leaf, leaf + 1}) +
           ls_roots_append(roots, (struct ls_range){leaf + 1, range.end});
}

/* Slots i and i+1 become one in slot i; the freed vector goes behind the live ones. */
static void merge_pair(struct ls_roots *roots, int i, struct ls_node parent, const struct ls_ops *ops)
{
    roots->nodes[i] = parent;
    float *freed = NULL;
    if (ops) {
        ops->tree_add(roots->n_floats, roots->slots[i], roots->slots[i + 1]);
        freed = roots->slots[i + 1];
    }
    for (int j = i + 1; j + 1 < roots->n; j++) {
        roots->nodes[j] = roots->nodes[j + 1];
        if (ops)
            roots->slots[j] = roots->slots[j + 1];
    }
    roots->n--;
    if (ops)
        roots->slots[roots->n] = freed;
}

void ls_roots_merge(struct ls_roots *roots, const struct ls_ops *ops)
{
    for (int i = 0; i + 1 < roots->n;) {
        struct ls_node parent;
        if (ls_tree_siblings(roots->n_leaves, roots->nodes[i], roots->nodes[i + 1], &parent)) {
            merge_pair(roots, i, parent, ops);
            i = i > 0 ? i - 1 : 0;
        } else {
            i++;
        }
    }
}
