/* Text files through the program: the same bits as the same numbers given otherwise, on any ranks; labels
 * that mean the same class in training, test data and a saved model; what info says of data. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "lockstep.h"

enum { LIMIT_S = 120 };

static void has(const char *text, const char *part)
{
    cr_assert(strstr(text, part), "no '%s' in\n%s", part, text);
}

static const struct ls_outcome *succeeds(const struct ls_outcome *o)
{
    cr_assert(o->status == 0, "status %d\n%s%s", o->status, o->out, o->err);
    return o;
}

static struct place text_file(const struct folder *folder, const char *name, const char *text)
{
    const struct place place = in_folder(folder, name);
    write_file(place.path, text, strlen(text));
    return place;
}

static struct hash_text hash_of(const struct ls_outcome *o)
{
    const struct hash_text hash = last_hash(succeeds(o)->out);
    cr_assert_eq(strlen(hash.text), 32, "%s", o->out);
    return hash;
}

Test(text_data, the_same_numbers_give_the_same_bits, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const char *run = "--net 'dense 5, tanh, dense 2' --epochs 3 --batch 2 --microbatch 1 --quiet";
    const struct place csv =
        text_file(&folder, "a.csv", "x,y,kind\n0.1,0,n\n0,1.5,y\n2e-3,0,y\n1,1,n\n-3,0,y\n");
    const struct place tsv =
        text_file(&folder, "a.tsv", "y\t0.1\t0\nz\t0\t1.5\nz\t.002\t0\ny\t1\t1\nz\t-3\t0\n");
    const struct place svm =
        text_file(&folder, "a.svm", "-1 1:.1\n1 2:1.5\n1 1:0.002\n-1 1:1 2:1\n+1 1:-3\n");
    const struct hash_text expected = hash_of(
        lockstep(1, "train --data 'inline:0.1 0=0;0 1.5=1;0.002 0=1;1 1=0;-3 0=1' --loss softmax %s", run));
    const char *const specs[] = {"", ",label=1", ""};
    const struct place *const files[] = {&csv, &tsv, &svm};
    for (int i = 0; i < 3; i++) {
        const struct hash_text found =
            hash_of(lockstep(1, "train --data %s%s %s", files[i]->path, specs[i], run));
        cr_assert_str_eq(found.text, expected.text, "%s", files[i]->path);
    }
    const struct hash_text found = hash_of(lockstep(3, "train --data %s %s", csv.path, run));
    cr_assert_str_eq(found.text, expected.text, "3 ranks");
    folder_destroy(&folder);
}

Test(text_data, a_label_is_one_class_everywhere, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct place train = text_file(&folder, "train.csv", "x,y,kind\n0,0,b\n1,0,c\n0,1,\"a,\"\"q\"\n");
    const struct place test = text_file(&folder, "test.csv", "x,y,kind\n1,0,c\n1,0,c\n");
    const struct place odd = text_file(&folder, "odd.csv", "x,y,kind\n1,0,c\n0,0,d\n");
    const struct place swapped = text_file(&folder, "swapped.csv", "y,x,kind\n1,0,c\n");
    const struct place model = in_folder(&folder, "m.safetensors");
    succeeds(lockstep(1,
                      "train --data %s --test-data %s --net 'dense 3' --lr 1 --epochs 60 --quiet --save %s",
                      train.path, test.path, model.path));
    has(succeeds(lockstep(1, "info %s", model.path))->out, "class_names        [\"a,\\\"q\", \"b\", \"c\"]");
    has(succeeds(lockstep(1, "eval %s --data %s", model.path, test.path))->out, "accuracy  100.00 %");
    has(succeeds(lockstep(1, "predict %s --data %s", model.path, train.path))->out, "\n0,b,");
    has(succeeds(lockstep(1, "predict %s --data %s", model.path, train.path))->out, "\n2,\"a,\"\"q\",");
    const struct ls_outcome *o = lockstep(1, "eval %s --data %s", model.path, odd.path);
    cr_assert_eq(o->status, 3);
    has(o->err, "odd.csv\":3: column 3 'kind': found 'd'");
    o = lockstep(1, "train --data %s --test-data %s --epochs 1", train.path, odd.path);
    cr_assert_eq(o->status, 3);
    has(o->err, "an unknown class; known are a,\"q, b, c");
    o = lockstep(1, "train --data %s --test-data %s --epochs 1", train.path, swapped.path);
    cr_assert_eq(o->status, 3);
    has(o->err, "input 1 is the column 'y', of the training data it is 'x'");
    folder_destroy(&folder);
}

/* What a model is for: samples whose class nobody knows. */
Test(text_data, prediction_needs_no_labels, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct place train = text_file(&folder, "train.csv", "x,y,kind\n0,0,b\n1,0,c\n0,1,b\n");
    const struct place bare = text_file(&folder, "bare.csv", "x,y\n0,0\n1,0\n0,1\n");
    const struct place model = in_folder(&folder, "m.safetensors");
    succeeds(lockstep(1, "train --data %s --net 'dense 2' --lr 1 --epochs 60 --quiet --save %s", train.path,
                      model.path));
    char labelled[600];
    const struct ls_outcome *o = lockstep(1, "predict %s --data %s", model.path, train.path);
    snprintf(labelled, sizeof labelled, "%.599s", succeeds(o)->out);
    has(labelled, "\n1,c,");
    o = lockstep(1, "predict %s --data csv:%s,label=none", model.path, bare.path);
    cr_assert_str_eq(succeeds(o)->out, labelled);
    o = lockstep(1, "eval %s --data csv:%s,label=none", model.path, bare.path);
    cr_assert_eq(o->status, 2);
    has(o->err, "neither labels nor target values");
    o = lockstep(1, "predict %s --data csv:%s,label=none,ignore=x", model.path, bare.path);
    cr_assert_eq(o->status, 2);
    has(o->err, "the net takes 2 inputs a sample");
    folder_destroy(&folder);
}

Test(text_data, info_describes_data, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct place csv = text_file(&folder, "a.csv", "a,b,kind\n1,,x\n2,5,y\nNA,7,x\n3,9,x\n");
    const char *out = succeeds(lockstep(1, "info %s", csv.path))->out;
    has(out, "\nformat      csv\n");
    has(out, "the label is column 3 'kind', the last");
    has(out, "\nsamples     4\nshape       2, binary32 numbers\nlabels      2 classes\n");
    has(out, "\nmissing     2 of 8 input values\n");
    has(out, " a                               1            3            2     0.816497          1\n");
    has(out, " x                               3      75.00 %\n");
    has(out, "the largest class has 3 times");
    out = succeeds(lockstep(1, "info digits"))->out;
    has(out, "\ntest data\nsamples     297\nshape       8x8, bytes / 16\n");
    has(succeeds(lockstep(1, "info formats"))->out, "\n  libsvm:FILE");
    const struct place odd = text_file(&folder, "odd", "what is this?\n");
    const struct ls_outcome *o = lockstep(1, "info %s", odd.path);
    cr_assert_eq(o->status, 3);
    has(o->err, "is no model (safetensors), and neither its name");
    folder_destroy(&folder);
}
