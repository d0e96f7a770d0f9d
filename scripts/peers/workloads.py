"""What is trained in the comparison, and what is asked of lockstep.  Owns names, nets, batches and asks."""

EPOCHS, TRAIN_SAMPLES, LEARNING_RATE, MOMENTUM = 10, 60000, 0.05, 0.9  # of fashion-mnist
STEPS_LEARNING_RATE = 1e-4  # of random labels: more kills units, whose momentum then is subnormal and slow, with everyone
LEAST_ACCURACY = 0.80  # tells a run that trains from one that does not; the proof of accuracy is elsewhere
WITHIN = 0.04  # by which the speeds of 2 ranks x 1 thread and 1 rank x 2 threads may differ


def dense(*widths):
    return {"widths": widths, "input": str(widths[0]), "net": ", relu, ".join(f"dense {width}" for width in widths[1:])}


# What the asks are for: peak, a share of the FMA peak of all threads on one rank; read, a share of the bandwidth at which the
# data set can be read where it lies; ranks, 2 ranks x 1 thread against 1 rank x 2 threads; a peer's name, lockstep's speed over
# its speed.
WORKLOADS = {
    "dense-2048": {"title": "784-2048-2048-2048-10, B = 1024", **dense(784, 2048, 2048, 2048, 10), "batch": 1024,
                   "asks": {"peak": 0.88, "ranks": WITHIN}},
    "dense-1024": {"title": "784-1024-1024-10, B = 256", **dense(784, 1024, 1024, 10), "batch": 256,
                   "asks": {"peak": 0.80, "ranks": WITHIN}},
    "dense-128": {"title": "784-128-10, B = 64", **dense(784, 128, 10), "batch": 64,
                  "asks": {"peak": 0.55, "ranks": WITHIN, "pytorch": 3.0, "kann": 2.0}},
    "softmax": {"title": "softmax regression 784-10, B = 256", **dense(784, 10), "batch": 256,
                "asks": {"read": 0.70, "ranks": WITHIN}},
    "conv": {"title": "conv net `--net cnn`, B = 64", "net": "cnn", "input": "28x28", "batch": 64,
             "asks": {"peak": 0.65, "ranks": WITHIN, "pytorch": 2.5}},
    "lenet5": {"title": "`--net lenet5`, B = 64", "net": "lenet5", "input": "28x28", "batch": 64, "asks": {"ranks": WITHIN}},
    "resnet20": {"title": "`--net resnet20`, 3x32x32, B = 128", "net": "resnet20", "input": "3x32x32", "batch": 128,
                 "asks": {"peak": 0.50, "ranks": WITHIN, "pytorch": 2.0}},
    "fashion-mnist": {"title": "784-128-10, ten epochs of Fashion-MNIST, B = 64", **dense(784, 128, 10), "batch": 64,
                      "asks": {}, "train": True},
}


def is_convolutional(workload):
    return workload["net"] in ("cnn", "lenet5", "resnet20")
