/* Owns the grammar.  See net.h for it. */
#include "model/language.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

enum {
    MAX_TEXT_BYTES = 1 << 20,
    MAX_LAYERS = 10000,
    MAX_DEPTH = 4,
    MAX_NAME = (int)sizeof((struct ls_layer){0}).name
};

struct parser {
    char *source;
    const char *file; /* NULL when inline */
    const char *at;
    int line, item; /* for messages: the line of a file, the layer of an inline list */
    size_t used;    /* of list->text */
    size_t room;
    struct ls_layer_list *list;
    struct ls_error *err;
};

static enum ls_code read_file(struct parser *p, const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return ls_fail_errno(p->err, LS_USAGE, "cannot read the net file '%s'", path);
    p->file = path;
    p->source = ls_alloc(MAX_TEXT_BYTES + 1, 1, "net file", p->err);
    enum ls_code code = p->source ? LS_OK : LS_FAILED;
    if (code == LS_OK) {
        const size_t n = fread(p->source, 1, MAX_TEXT_BYTES + 1, file);
        if (ferror(file))
            code = ls_fail_errno(p->err, LS_FAILED, "cannot read the net file '%s'", path);
        else if (n > MAX_TEXT_BYTES)
            code =
                ls_fail(p->err, LS_USAGE, "the net file '%s' is longer than %d bytes", path, MAX_TEXT_BYTES);
        else if (memchr(p->source, '\0', n))
            code = ls_fail(p->err, LS_USAGE, "the net file '%s' holds a zero byte: it must be text", path);
        else
            p->source[n] = '\0';
    }
    fclose(file);
    return code;
}

static enum ls_code open_source(struct parser *p, const char *text)
{
    if (text[0] == '@')
        return read_file(p, text + 1);
    p->source = ls_copy_text(text, p->err);
    return p->source ? LS_OK : LS_FAILED;
}

enum ls_code ls_layer_explain(const struct ls_layer *layer, enum ls_code code, struct ls_error *err)
{
    if (code != LS_OK && err) {
        char reason[sizeof err->text];
        snprintf(reason, sizeof reason, "%s", err->text);
        snprintf(err->text, sizeof err->text, "%s ('%s'): %.900s", layer->where, layer->text, reason);
    }
    return code;
}

/* "net.txt:3" or "--net, layer 2": where the item at hand stands. */
static void describe_place(const struct parser *p, char *where, size_t size)
{
    if (p->file)
        snprintf(where, size, "%.72s:%d", p->file, p->line);
    else
        snprintf(where, size, "--net, layer %d", p->item);
}

static enum ls_code fail_here(const struct parser *p, const char *problem)
{
    char where[96];
    describe_place(p, where, sizeof where);
    return ls_fail(p->err, LS_USAGE, "%s: %s", where, problem);
}

static void append(struct parser *p, const char *text)
{
    p->used += (size_t)snprintf(p->list->text + p->used, p->room - p->used, "%s", text);
}

/* Passes over blanks and comments; over line ends too if asked to. */
static void skip_blanks(struct parser *p, int lines)
{
    for (;;) {
        if (*p->at == '#')
            p->at += strcspn(p->at, "\n");
        else if (*p->at == '\n' && lines) {
            p->line++;
            p->at++;
        } else if (*p->at != '\n' && isspace((unsigned char)*p->at))
            p->at++;
        else
            return;
    }
}

static int split_words(char *text, char *words[LS_LAYER_WORDS])
{
    int n = 0;
    char *rest = NULL;
    for (char *word = strtok_r(text, " \t\r", &rest); word; word = strtok_r(NULL, " \t\r", &rest)) {
        if (n == LS_LAYER_WORDS)
            return n + 1;
        words[n++] = word;
    }
    return n;
}

static enum ls_code new_layer(struct parser *p, struct ls_layer **layer, int from)
{
    if (p->list->n == MAX_LAYERS)
        return ls_fail(p->err, LS_USAGE, "--net: more than %d layers", MAX_LAYERS);
    *layer = &p->list->layers[p->list->n++];
    **layer = (struct ls_layer){.from = from, .also = LS_NET_INPUT};
    describe_place(p, (*layer)->where, sizeof(*layer)->where);
    return LS_OK;
}

/* The words up to a separator, without the blanks around them. */
static enum ls_code read_item(struct parser *p, char *text, size_t size)
{
    size_t length = strcspn(p->at, ",\n#{}");
    const char *begin = p->at;
    p->at += length;
    while (length > 0 && isspace((unsigned char)begin[length - 1]))
        length--;
    if (length >= size) {
        char problem[100];
        snprintf(problem, sizeof problem, "a layer of %zu characters; at most %zu are allowed", length,
                 size - 1);
        return fail_here(p, problem);
    }
    memcpy(text, begin, length);
    text[length] = '\0';
    return LS_OK;
}

static enum ls_code parse_list(struct parser *p, const char *prefix, int depth, int from, int *last);

/* "{ LAYERS }" */
static enum ls_code parse_block(struct parser *p, const char *prefix, int depth, int from, int *last)
{
    skip_blanks(p, 1);
    if (*p->at != '{')
        return fail_here(p, "'{' is missing: residual { LAYERS } [shortcut { LAYERS }]");
    if (depth > MAX_DEPTH)
        return fail_here(p, "residual blocks inside of one another: at most 4 are allowed");
    p->at++;
    append(p, " { ");
    const enum ls_code code = parse_list(p, prefix, depth, from, last);
    if (code != LS_OK)
        return code;
    if (*p->at != '}')
        return fail_here(p, "'}' is missing: residual { LAYERS } [shortcut { LAYERS }]");
    p->at++;
    append(p, " }");
    return LS_OK;
}

/* Whether the next word, maybe on a later line, is this one; then it is passed over. */
static int take_word(struct parser *p, const char *word)
{
    const struct parser before = *p;
    skip_blanks(p, 1);
    const size_t length = strlen(word);
    if (strncmp(p->at, word, length) == 0 && !isalnum((unsigned char)p->at[length])) {
        p->at += length;
        return 1;
    }
    p->at = before.at;
    p->line = before.line;
    return 0;
}

static enum ls_code parse_residual(struct parser *p, const char *name, int depth, int from, int *last)
{
    char prefix[MAX_NAME + 12], where[96];
    int main_path = from, shortcut = from;
    describe_place(p, where, sizeof where);
    snprintf(prefix, sizeof prefix, "%s.main.", name);
    append(p, "residual");
    enum ls_code code = parse_block(p, prefix, depth + 1, from, &main_path);
    if (code == LS_OK && main_path == from)
        code = fail_here(p, "a residual block without a layer");
    if (code == LS_OK && take_word(p, "shortcut")) {
        snprintf(prefix, sizeof prefix, "%s.shortcut.", name);
        append(p, " shortcut");
        code = parse_block(p, prefix, depth + 1, from, &shortcut);
        if (code == LS_OK && shortcut == from)
            code =
                fail_here(p, "a shortcut without a layer: without 'shortcut' it is the block's input itself");
    }
    struct ls_layer *add = NULL;
    if (code == LS_OK)
        code = new_layer(p, &add, main_path);
    if (code != LS_OK)
        return code;
    add->kind = &ls_layer_add;
    add->also = shortcut;
    snprintf(add->name, sizeof add->name, "%s", name);
    snprintf(add->text, sizeof add->text, "residual");
    snprintf(add->where, sizeof add->where, "%s", where);
    *last = p->list->n - 1;
    return LS_OK;
}

static enum ls_code parse_layer(struct parser *p, const char *name, char *text, int from, int *last)
{
    char *words[LS_LAYER_WORDS];
    struct ls_layer *layer = NULL;
    enum ls_code code = new_layer(p, &layer, from);
    if (code != LS_OK)
        return code;
    snprintf(layer->name, sizeof layer->name, "%s", name);
    snprintf(layer->text, sizeof layer->text, "%s", text);
    const int n_words = split_words(text, words);
    if (n_words > LS_LAYER_WORDS)
        return ls_fail(p->err, LS_USAGE, "%s ('%s'): more than %d words", layer->where, layer->text,
                       LS_LAYER_WORDS);
    for (int w = 0; w < n_words; w++) {
        append(p, w ? " " : "");
        append(p, words[w]);
    }
    *last = p->list->n - 1;
    layer->kind = ls_layer_find(words[0], p->err);
    code = layer->kind ? layer->kind->configure(layer, n_words - 1, words + 1, p->err) : LS_USAGE;
    return ls_layer_explain(layer, code, p->err);
}

/* What stands between two items. */
static enum ls_code parse_separator(struct parser *p, int depth)
{
    skip_blanks(p, 0);
    if (*p->at == ',') {
        p->at++;
        skip_blanks(p, 1);
        if (!*p->at || *p->at == ',' || *p->at == '}')
            return fail_here(p, "nothing behind the comma");
    } else if (*p->at == '\n') {
        skip_blanks(p, 1);
    } else if (*p->at == '{') {
        return fail_here(p, "'{' belongs behind 'residual' or 'shortcut'");
    } else if (*p->at && !(*p->at == '}' && depth > 0)) {
        return fail_here(p, *p->at == '}' ? "'}' without a '{' before it"
                                          : "a comma or a line end is missing behind the block");
    }
    return LS_OK;
}

/* What the words that are no layer might have meant. */
static enum ls_code explain_item(const struct parser *p, const char *text)
{
    const size_t length = strcspn(text, " \t\r");
    if (!*text && *p->at == ',')
        return fail_here(p, "nothing in front of the comma");
    if (!*text)
        return fail_here(p, "no layer in front of the brace");
    if (length == strlen("residual") && strncmp(text, "residual", length) == 0)
        return fail_here(p, "'residual' takes no words: residual { LAYERS } [shortcut { LAYERS }]");
    if (length == strlen("shortcut") && strncmp(text, "shortcut", length) == 0)
        return fail_here(p, "'shortcut' belongs behind a block: residual { LAYERS } [shortcut { LAYERS }]");
    return LS_OK;
}

static enum ls_code parse_item(struct parser *p, const char *prefix, int i, int depth, int *last)
{
    char text[sizeof p->list->layers[0].text], name[MAX_NAME];
    if (snprintf(name, sizeof name, "%s%d", prefix, i) >= (int)sizeof name)
        return fail_here(p, "blocks inside of one another: the names of their tensors would be too long");
    enum ls_code code = read_item(p, text, sizeof text);
    if (code == LS_OK && strcmp(text, "residual") == 0)
        return parse_residual(p, name, depth, *last, last);
    if (code == LS_OK)
        code = explain_item(p, text);
    return code == LS_OK ? parse_layer(p, name, text, *last, last) : code;
}

/* Layers up to the end of the text or a '}'. */
static enum ls_code parse_list(struct parser *p, const char *prefix, int depth, int from, int *last)
{
    *last = from;
    skip_blanks(p, 1);
    enum ls_code code = LS_OK;
    for (int i = 0; code == LS_OK && *p->at && *p->at != '}'; i++) {
        p->item++;
        append(p, i ? ", " : "");
        code = parse_item(p, prefix, i, depth, last);
        if (code == LS_OK)
            code = parse_separator(p, depth);
    }
    if (code == LS_OK && *p->at == '}' && depth == 0)
        return fail_here(p, "'}' without a '{' before it");
    return code;
}

/* At least as many as there will be: each item ends at a separator or a brace. */
static size_t count_items(const char *text)
{
    size_t n = 2;
    for (; *text; text++)
        n += strchr(",\n{}", *text) != NULL;
    return n < MAX_LAYERS ? n : MAX_LAYERS;
}

enum ls_code ls_layer_list_parse(struct ls_layer_list *list, const char *text, struct ls_error *err)
{
    struct parser p = {.list = list, .line = 1, .err = err};
    *list = (struct ls_layer_list){.last = LS_NET_INPUT};
    enum ls_code code = open_source(&p, text);
    if (code == LS_OK) {
        p.room = 3 * strlen(p.source) + 16;
        list->text = ls_alloc(p.room, 1, "net text", err);
        list->layers = ls_alloc(count_items(p.source), sizeof *list->layers, "layers", err);
        code = list->text && list->layers ? LS_OK : LS_FAILED;
    }
    if (code == LS_OK) {
        p.at = p.source;
        code = parse_list(&p, "", 0, LS_NET_INPUT, &list->last);
    }
    if (code == LS_OK && list->n == 0)
        code = ls_fail(err, LS_USAGE, "--net: no layer in '%.60s'", p.file ? p.file : p.source);
    ls_free(p.source);
    return code;
}

void ls_layer_list_release(struct ls_layer_list *list)
{
    ls_free(list->text);
    ls_free(list->layers);
    *list = (struct ls_layer_list){0};
}
