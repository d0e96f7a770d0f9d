/* "Did you mean": the known word that a misspelt one is nearest to. */
#ifndef LS_BASE_NEAREST_H
#define LS_BASE_NEAREST_H

/* The word of `known` (NULL-terminated) with the fewest single-letter insertions, deletions, replacements and
 * swaps of neighbours from `word`, the first of equals; NULL when more than half of the letters of `word`
 * would change.  A missing end counts as one: "fashon" means "fashion-mnist". */
const char *ls_nearest(const char *word, const char *const *known);

#endif
