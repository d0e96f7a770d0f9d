"""scikit-learn's side of the comparison, a process: ten epochs of Fashion-MNIST for each line on standard input, answered with
its speed.  The clock starts after the imports."""
import json
import sys
import time

import sklearn
from sklearn.neural_network import MLPClassifier

from fashion_mnist import fashion_mnist
from workloads import EPOCHS, LEARNING_RATE, MOMENTUM


def measure(job):
    begin = time.perf_counter()
    x, labels, test_x, test_labels = fashion_mnist()
    model = MLPClassifier(job["widths"][1:-1], solver="sgd", alpha=0.0, batch_size=job["batch"], momentum=MOMENTUM,
                          nesterovs_momentum=False, learning_rate_init=LEARNING_RATE, random_state=1)
    for _ in range(EPOCHS):
        model.partial_fit(x, labels, classes=range(10))
        accuracy = model.score(test_x, test_labels)
    seconds = time.perf_counter() - begin
    return {"samples_per_s": EPOCHS * len(x) / seconds, "seconds": seconds, "accuracy": float(accuracy)}


if __name__ == "__main__":
    print(json.dumps({"version": sklearn.__version__}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(measure(json.loads(sys.argv[1]))), flush=True)
