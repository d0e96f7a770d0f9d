/* Text files through the program: the same bits as the same numbers given otherwise, on any ranks; labels
 * that mean the same class in training, test data and a saved model; what info says of data. */
#include <criterion/criterion.h>
#include <jansson.h>
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

/* Columns in another order would be other features, and nothing but their names could tell. */
Test(text_data, columns_keep_their_names_and_order, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct place train = text_file(&folder, "train.csv", "x,y,kind\n0,0,b\n1,0,c\n0,1,b\n");
    const struct place swapped = text_file(&folder, "swapped.csv", "y,kind,x\n0,b,0\n0,c,1\n1,b,0\n");
    const struct place bare = text_file(&folder, "bare.csv", "0,0,b\n1,0,c\n0,1,b\n");
    const struct place latin = text_file(&folder, "latin.csv",
                                         "x,gr\xF6\xDF"
                                         "e,kind\n0,0,b\n1,0,c\n");
    const struct place model = in_folder(&folder, "m.safetensors"),
                       next = in_folder(&folder, "n.safetensors");
    const struct place run = in_folder(&folder, "run"), out = in_folder(&folder, "out.lsd");
    const char *words = "swapped.csv\": input 1 is the column 'y', of the training data it is 'x'";
    succeeds(lockstep(1, "train --data %s --net 'dense 2' --epochs 1 --quiet --save %s --checkpoint %s",
                      train.path, model.path, run.path));
    has(succeeds(lockstep(1, "info %s", model.path))->out, "input_names        [\"x\", \"y\"]");
    const struct {
        const char *command;
        const struct place *with;
    } refused[] = {{"eval %s --data %s,label=kind", &model},
                   {"predict %s --data %s,label=kind", &model},
                   {"train --load %s --data %s,label=kind --epochs 1", &model},
                   {"train --resume %s --data %s,label=kind --epochs 2", &run},
                   {"convert %s --test-data %s,label=kind out.lsd", &train}};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const struct ls_outcome *o = lockstep(1, refused[i].command, refused[i].with->path, swapped.path);
        cr_assert_eq(o->status, 3, "%s: %d", refused[i].command, o->status);
        has(o->err, words);
    }
    /* Data without names are taken as they are, and what was trained on names keeps them. */
    succeeds(lockstep(1, "eval %s --data %s", model.path, bare.path));
    succeeds(lockstep(1, "convert %s %s", train.path, out.path));
    succeeds(lockstep(1, "train --load %s --data %s --epochs 1 --quiet --save %s", model.path, out.path,
                      next.path));
    has(lockstep(1, "eval %s --data %s,label=kind", next.path, swapped.path)->err, words);
    const struct ls_outcome *o = lockstep(1, "train --data %s --epochs 1", latin.path);
    cr_assert_eq(o->status, 3);
    has(o->err, "latin.csv\":1: column 2 ");
    has(o->err, "the name is not UTF-8: iconv -f LATIN1");
    succeeds(lockstep(1, "train --data %s,ignore=2 --epochs 1 --quiet", latin.path));
    folder_destroy(&folder);
}

/* A value that is missing becomes what it was in training, whatever else the file at hand holds. */
Test(text_data, the_means_that_fill_are_those_of_training, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct place train = text_file(&folder, "train.csv", "x,y,z\n1,5,3\n2,,4\n6,0.5,5\n"); /* 3; 2.75 */
    const struct place svm = text_file(&folder, "a.svm", "3 1:1 2:5\n4 1:2\n");
    const struct place holes = text_file(&folder, "holes.csv", "x,y,z\n100,,1\n,50,2\n,,3\n");
    const struct place filled = text_file(&folder, "filled.csv", "x,y,z\n100,2.75,1\n3,50,2\n3,2.75,3\n");
    const struct place model = in_folder(&folder, "m.safetensors"),
                       plain = in_folder(&folder, "p.safetensors");
    const char *net = "--net 'dense 1' --init normal=1 --quiet";
    char expected[600];
    succeeds(lockstep(1, "train --data %s,target=z,missing=mean --epochs 0 %s --save %s", train.path, net,
                      model.path));
    has(succeeds(lockstep(1, "info %s", model.path))->out, "input_means        3,2.75\n");
    for (int i = 0; i < 2; i++) {
        const char *command = i ? "eval %s --data %s,target=z%s" : "predict %s --data %s,target=z%s";
        snprintf(expected, sizeof expected, "%.599s",
                 strchr(succeeds(lockstep(1, command, model.path, filled.path, ""))->out, '\n'));
        has(succeeds(lockstep(1, command, model.path, holes.path, ",missing=mean"))->out, expected);
    }
    /* As test data: what the training data had. */
    const struct hash_text a =
        hash_of(lockstep(1, "train --data %s,target=z,missing=mean --test-data %s,target=z --epochs 2 %s",
                         train.path, filled.path, net));
    const struct ls_outcome *o = lockstep(
        1, "train --data %s,target=z,missing=mean --test-data %s,target=z,missing=mean --epochs 2 %s",
        train.path, holes.path, net);
    cr_assert_str_eq(hash_of(o).text, a.text);
    /* Who has no means is not given others. */
    succeeds(lockstep(1, "train --data %s,target=value --epochs 1 %s --save %s", svm.path, net, plain.path));
    o = lockstep(1, "eval %s --data %s,target=z,missing=mean", plain.path, holes.path);
    cr_assert_eq(o->status, 3);
    has(o->err,
        "missing=mean: neither the model nor the training data say what the mean of column 1 'x' was");
    succeeds(lockstep(1, "eval %s --data %s,target=z,missing=0", plain.path, holes.path));
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

/* The same as JSON, which another program reads. */
Test(text_data, info_describes_data_as_json, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct place csv = text_file(&folder, "a.csv", "a,\"b\"\"\",kind\n1,,x\n2,5,y\nNA,7,x\n3,9,x\n");
    const struct place file = in_folder(&folder, "a.json");
    cr_assert_str_eq(succeeds(lockstep(1, "info %s --json %s", csv.path, file.path))->out, "");
    json_t *all = json_load_file(file.path, JSON_REJECT_DUPLICATES, NULL);
    const char *data, *format, *type, *name, *class_name;
    int samples, shape, missing, all_missing, of_class, feature;
    double least, mean, deviation;
    cr_assert_eq(
        json_unpack(all,
                    "{s:s, s:s, s:{s:i, s:[i], s:s, s:i, s:F, s:[{}, {s:i, s:s, s:F, s:F, s:i}], s:[{s:s, "
                    "s:i}, {}]}}",
                    "data", &data, "format", &format, "training", "samples", &samples, "shape", &shape,
                    "type", &type, "missing", &all_missing, "least", &least, "features", "feature", &feature,
                    "name", &name, "mean", &mean, "deviation", &deviation, "missing", &missing, "classes",
                    "name", &class_name, "samples", &of_class),
        0, "not as expected: %s", file.path);
    cr_expect_str_eq(data, csv.path);
    cr_expect_str_eq(format, "csv");
    cr_expect_str_eq(type, "float32");
    cr_expect_str_eq(name, "b\"");
    cr_expect_str_eq(class_name, "x");
    cr_expect(samples == 4 && shape == 2 && all_missing == 2 && feature == 2 && missing == 1 &&
              of_class == 3);
    cr_expect(least == 1 && mean == 7 && deviation > 1.63299315 && deviation < 1.63299317, "%.12g",
              deviation);
    json_decref(all);
    all = json_loads(succeeds(lockstep(1, "info digits --json -"))->out, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_eq(json_unpack(all, "{s:{}, s:{s:i, s:[i, i], s:F}}", "training", "test", "samples", &samples,
                             "shape", &shape, &missing, "divisor", &mean),
                 0);
    cr_expect(samples == 297 && shape == 8 && missing == 8 && mean == 16);
    json_decref(all);
    const struct ls_outcome *o = lockstep(1, "info nets --json -");
    cr_assert_eq(o->status, 2);
    has(o->err, "--json describes data, and 'nets' is none");
    folder_destroy(&folder);
}
