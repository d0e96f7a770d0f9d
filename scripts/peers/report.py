"""The table: from measurements, one a row, to ratios and asks met.  A ratio is taken within a round; medians of rounds."""
import collections
import statistics

import workloads

PEERS = ("pytorch", "pytorch-ddp", "kann", "sklearn")
TITLES = {"lockstep": "lockstep", "pytorch": "PyTorch", "pytorch-ddp": "PyTorch, DistributedDataParallel with gloo", "kann": "kann",
          "sklearn": "scikit-learn"}
SOURCES = ("lockstep reads samples of one byte a number and makes binary32 of them in each step; the others' samples are binary32 in "
           "memory, made before their clock starts. fashion-mnist begins with the gzip files for all.")
COLUMNS = ("workload", "contestant", "setting", "version", "samples/s", "of FMA peak", "lockstep is", "asked", "met")


def by_setting(rows):
    groups = collections.defaultdict(list)
    for row in rows:
        groups[row["setting"]].append(row)
    return groups


def speeds(rows):
    """Of each round, the best of the rows."""
    best = {}
    for row in rows:
        key = row["run"], row["round"]
        best[key] = max(best.get(key, 0.0), float(row["samples_per_s"]))
    return best


def ratios(ours, theirs):
    return [ours[key] / theirs[key] for key in sorted(ours) if key in theirs]


def spread(values, text="{:.2f}"):
    if len(values) == 1:
        return text.format(values[0])
    return f"{text.format(statistics.median(values))} ({text.format(min(values))} to {text.format(max(values))})"


def numbers(rows, key):
    return [float(row[key]) for row in rows if row.get(key) not in (None, "")]


def median(rows, key):
    return statistics.median(numbers(rows, key))


def best_settings(rows, workload):
    """contestant -> the setting with the highest median."""
    best = {}
    for name in {row["contestant"] for row in rows}:
        its = by_setting([row for row in rows if (row["contestant"], row["workload"]) == (name, workload)])
        if its:
            best[name] = max(its, key=lambda setting: median(its[setting], "samples_per_s"))
    return best


class Workload:
    """One workload's rows, and what they say."""

    def __init__(self, name, rows):
        self.workload = workloads.WORKLOADS[name]
        self.of = collections.defaultdict(list)
        for row in rows:
            self.of[row["contestant"]].append(row)
        self.ours = by_setting(self.of["lockstep"])
        self.one_rank = [row for row in self.of["lockstep"] if row["ranks"] == "1"]
        with_peak = [row for row in self.of["lockstep"] if row.get("peak_gflops")]
        self.gflop, self.core_peak = None, None
        if with_peak:
            self.gflop = statistics.median(float(row["gflops"]) / float(row["samples_per_s"]) for row in with_peak)
            self.core_peak = statistics.median(
                float(row["peak_gflops"]) / int(row["ranks"]) / int(row["threads"]) for row in with_peak)

    def share_of_peak(self, rows):
        """Of the FMA peak of the cores that these settings use."""
        if numbers(rows, "peak_share"):
            return f"{100 * median(rows, 'peak_share'):.1f} %"
        if self.gflop is None:
            return ""
        cores = max(int(rows[0]["threads"]), int(rows[0].get("blas_threads") or 1)) * int(rows[0].get("ranks") or 1)
        return f"{100 * median(rows, 'samples_per_s') * self.gflop / (self.core_peak * cores):.1f} %"

    def line(self, name, setting, rows, ratio="", asked="", met=""):
        took, accuracy = numbers(rows, "seconds"), numbers(rows, "accuracy")
        if took:
            setting += f": {statistics.median(took):.2f} s, test accuracy {100 * statistics.median(accuracy):.2f} %"
        return (self.workload["title"], TITLES[name], setting, rows[0]["version"], f"{median(rows, 'samples_per_s'):,.0f}",
                self.share_of_peak(rows), ratio, asked, met)

    def asked_of_peak(self, rows):
        """lockstep's setting with all threads on one rank has the asks for shares."""
        asks, missed, texts = self.workload["asks"], [], []
        for ask, key, what in (("peak", "peak_share", "of FMA peak"),
                               ("read", "read_share", "of the rate at which the data can be read where they lie")):
            if ask in asks:
                share = median(rows, key)
                texts.append(f"{100 * asks[ask]:g} % {what}" + (f": {100 * share:.1f} %" if ask == "read" else ""))
                missed.append(share < asks[ask])
        return ", ".join(texts), ("no" if any(missed) else "yes") if texts else ""

    def one_rank_with(self, threads):
        """lockstep's setting of one rank with so many threads, or None."""
        return next((setting for setting, rows in self.ours.items()
                     if rows[0]["ranks"] == "1" and int(rows[0]["threads"]) == threads), None)

    def our_lines(self):
        first = max((setting for setting, rows in self.ours.items() if rows[0]["ranks"] == "1"),
                    key=lambda setting: int(self.ours[setting][0]["threads"]), default=None)
        for setting, rows in self.ours.items():
            asked, met, ratio = "", "", ""
            if setting == first:
                asked, met = self.asked_of_peak(rows)
            like = self.one_rank_with(int(rows[0]["ranks"]) * int(rows[0]["threads"]))
            if rows[0]["ranks"] != "1" and like:
                found = ratios(speeds(rows), speeds(self.ours[like]))
                ratio = f"{spread(found, '{:.3f}')} x that with {like}"
                if "ranks" in self.workload["asks"]:
                    within = self.workload["asks"]["ranks"]
                    asked, met = f"within {100 * within:g} %", "yes" if abs(statistics.median(found) - 1) <= within else "no"
            yield self.line("lockstep", setting, rows, ratio, asked, met)

    def peer_lines(self, peer):
        """Each setting; the ratio, against lockstep's best with as many processes, stands with the one that is best."""
        theirs = by_setting(self.of[peer])
        if not theirs:
            return
        ranks = "2" if peer == "pytorch-ddp" else "1"
        ours = [row for row in self.of["lockstep"] if row["ranks"] == ranks]
        best = max(theirs, key=lambda setting: median(theirs[setting], "samples_per_s"))
        for setting, rows in theirs.items():
            ratio, asked, met = "", "", ""
            if setting == best and ours:
                found = ratios(speeds(ours), speeds(self.of[peer]))
                ratio = f"{spread(found)} x as fast"
                if peer in self.workload["asks"]:
                    ask = self.workload["asks"][peer]
                    asked, met = f"{ask:g} x", "yes" if statistics.median(found) >= ask else "no"
            yield self.line(peer, setting, rows, ratio, asked, met)

    def lines(self):
        yield from self.our_lines()
        for peer in PEERS:
            yield from self.peer_lines(peer)


def table(rows):
    """Lines of the table, as tuples of COLUMNS."""
    for name in workloads.WORKLOADS:
        its = [row for row in rows if row["workload"] == name]
        if its:
            yield from Workload(name, its).lines()


def markdown(rows):
    """The table, with the machine and what was run above it."""
    text = [f"{key}: {'; '.join(dict.fromkeys(row[key] for row in rows if row[key]))}\n" for key in ("machine", "lockstep")]
    rounds = len({(row["run"], row["workload"], row["round"]) for row in rows})
    text.append(f"{rounds} rounds over all workloads; medians (least to largest of the rounds)\n")
    text.append(f"{SOURCES}\n")
    text.append("| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS))
    text += ["| " + " | ".join(line) + " |" for line in table(rows)]
    return "\n".join(text) + "\n"
