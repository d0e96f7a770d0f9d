#!/usr/bin/env python3
"""Draws what `lockstep bench scaling --csv` wrote: scaling_plot.py CSV OUT.svg

For each net and kind of scaling two panels: a step's time over cores (ranks x threads), with its fastest and slowest
round, what ideal scaling would be, and the model; and where the time goes, with forward and backward of the fastest and
the slowest rank.  Ends with 1 when rows of the same net and batch have different hashes.  Needs nothing but Python."""
import csv
import html
import math
import sys

WIDTH, ROW, TOP = 1080, 400, 72
LEFT, RIGHT = (90, 540), (640, 880)  # the panels, from x to x
COLOURS = ["#1f5fa8", "#c2571a", "#2f7d4f", "#7a4aa0", "#8a6d1f", "#a83260"]
PARTS = [("compute", "forward and backward", "#4c84c4"), ("update", "update", "#8fb98a"), ("data", "wait for samples", "#d9b44a"),
         ("exposed", "exposed communication", "#c8553d"), ("rest", "rest", "#c9c9c9")]


class Drawing:
    def __init__(self, height):
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
                      f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
                      f'<rect width="{WIDTH}" height="{height}" fill="white"/>']

    def line(self, points, colour, width=1.0, dash=""):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"'
                          + (f' stroke-dasharray="{dash}"' if dash else "") + "/>")

    def box(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>')

    def dot(self, x, y, colour):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')

    def text(self, x, y, words, anchor="start", size=12, turn=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
                          + (f' transform="{turn}"' if turn else "") + f">{html.escape(words)}</text>")

    def whisker(self, x, low, high, colour):
        self.line([(x, low), (x, high)], colour)
        for y in (low, high):
            self.line([(x - 4, y), (x + 4, y)], colour)

    def write(self, name):
        with open(name, "w", encoding="utf-8") as out:
            out.write("\n".join(self.parts + ["</svg>", ""]))


def duration(us):
    for unit, size in (("s", 1e6), ("ms", 1e3), ("us", 1.0)):
        if us >= size:
            return f"{us / size:.3g} {unit}"
    return f"{us:.3g} us"


def ticks(low, high):
    """1, 2 and 5 times powers of ten within a range."""
    found = [m * 10.0 ** e for e in range(-3, 10) for m in (1, 2, 5)]
    return [t for t in found if low <= t <= high]


def axes(draw, panel, top, bottom):
    x0, x1 = panel
    draw.line([(x0, top), (x0, bottom), (x1, bottom)], "#333")


def cores(row):
    return row["ranks"] * row["threads"]


def ideal(row, base):
    """One rank's time at the point's work: all of its ranks would do as much as it did."""
    return base["step_us"] * row["batch"] / base["batch"] / row["ranks"]


def draw_times(draw, rows, top, bottom):
    x0, x1 = LEFT
    axes(draw, LEFT, top, bottom)
    ideals = {}
    for row in rows:
        base = next(b for b in rows if b["ranks"] == 1 and b["threads"] == row["threads"])
        ideals[id(row)] = ideal(row, base)
    values = [row[k] for row in rows for k in ("step_us_best", "step_us", "step_us_worst", "model_us")] + list(ideals.values())
    low, high = min(values) / 1.15, max(values) * 1.15
    most = max(cores(row) for row in rows)

    def x_of(row):
        return x0 + 20 + (x1 - x0 - 40) * (math.log2(cores(row)) / math.log2(most) if most > 1 else 0.5)

    def y_of(us):
        return bottom - (bottom - top) * math.log(us / low) / math.log(high / low)

    for tick in ticks(low, high):
        draw.line([(x0 - 4, y_of(tick)), (x0, y_of(tick))], "#333")
        draw.line([(x0, y_of(tick)), (x1, y_of(tick))], "#eee")
        draw.text(x0 - 8, y_of(tick) + 4, duration(tick), "end")
    last = -100.0
    for at, number in sorted({(x_of(row), cores(row)) for row in rows}):
        draw.line([(at, bottom), (at, bottom + 4)], "#333")
        if at - last > 36:
            draw.text(at, bottom + 18, str(number), "middle")
            last = at
    draw.text((x0 + x1) / 2, bottom + 38, "cores (ranks x threads)", "middle")
    draw.text(20, (top + bottom) / 2, "time of a step", "middle", turn=f"rotate(-90 20 {(top + bottom) / 2:.0f})")
    for number, threads in enumerate(sorted({row["threads"] for row in rows})):
        colour = COLOURS[number % len(COLOURS)]
        line = sorted((row for row in rows if row["threads"] == threads), key=cores)
        shift = 5 * number  # so that whiskers of other threads stand beside
        draw.line([(x_of(r) + shift, y_of(ideals[id(r)])) for r in line], colour, 1, "6 4")
        draw.line([(x_of(r) + shift, y_of(r["model_us"])) for r in line], colour, 1.5, "1.5 3")
        draw.line([(x_of(r) + shift, y_of(r["step_us"])) for r in line], colour, 2)
        for row in line:
            draw.whisker(x_of(row) + shift, y_of(row["step_us_best"]), y_of(row["step_us_worst"]), colour)
            draw.dot(x_of(row) + shift, y_of(row["step_us"]), colour)
    draw_legend(draw, sorted({row["threads"] for row in rows}), top - 22)


def draw_legend(draw, threads, y):
    """One line above the panel."""
    x = LEFT[0]
    entries = [(f"{n} thread{'s' if n > 1 else ''} a rank", COLOURS[i % len(COLOURS)], "", 2) for i, n in enumerate(threads)]
    entries += [("ideal", "#333", "6 4", 1), ("model", "#333", "1.5 3", 1.5)]
    for words, colour, dash, width in entries:
        draw.line([(x, y - 4), (x + 22, y - 4)], colour, width, dash)
        draw.text(x + 27, y, words, size=11)
        x += 37 + 6 * len(words)
    draw.whisker(x + 6, y - 10, y + 2, "#333")
    draw.text(x + 16, y, "fastest, slowest round", size=11)


def draw_shares(draw, rows, top, bottom):
    x0, x1 = RIGHT
    axes(draw, RIGHT, top, bottom)
    for percent in range(0, 101, 20):
        y = bottom - (bottom - top) * percent / 100
        draw.line([(x0 - 4, y), (x0, y)], "#333")
        draw.text(x0 - 8, y + 4, f"{percent}", "end")
    draw.text(x0 - 42, (top + bottom) / 2, "% of a step (means over ranks)", "middle",
              turn=f"rotate(-90 {x0 - 42} {(top + bottom) / 2:.0f})")
    step = (x1 - x0 - 10) / len(rows)
    for i, row in enumerate(rows):
        whole, y = row["step_us"], bottom
        parts = {name: row[f"{name}_us_mean"] for name, _, _ in PARTS if name != "rest"}
        parts["rest"] = max(0.0, whole - sum(parts.values()))
        whole = max(whole, sum(parts.values()))
        x = x0 + 8 + step * i
        for name, _, colour in PARTS:
            height = (bottom - top) * parts[name] / whole
            y -= height
            draw.box(x, y, step * 0.7, height, colour)
        scale = (bottom - top) / whole
        draw.whisker(x + step * 0.35, bottom - scale * row["compute_us_min"],
                     max(top, bottom - scale * row["compute_us_max"]), "#123")
        label = f"{row['ranks']}x{row['threads']}"
        if step > 34:
            draw.text(x + step * 0.35, bottom + 18, label, "middle")
        else:
            draw.text(x + step * 0.35 + 4, bottom + 12, label, "end", 10,
                      f"rotate(-60 {x + step * 0.35 + 4:.0f} {bottom + 12:.0f})")
    draw.text((x0 + x1) / 2, bottom + (38 if step > 34 else 60), "ranks x threads", "middle")
    for i, (_, words, colour) in enumerate(reversed(PARTS)):
        draw.box(x1 + 14, top + 18 * i - 9, 11, 11, colour)
        draw.text(x1 + 30, top + 18 * i, words)
    draw.whisker(x1 + 19, top + 18 * len(PARTS) - 8, top + 18 * len(PARTS) + 4, "#123")
    draw.text(x1 + 30, top + 18 * len(PARTS), "its fastest, slowest rank")


def read(name):
    with open(name, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for key, value in row.items():
            if key in ("batch", "ranks", "threads", "hosts", "rounds"):
                row[key] = int(value)
            elif key not in ("net", "scaling", "isa", "hash", "compared_with"):
                row[key] = float(value)
    return rows


def once_each(rows):
    """Of a layout that several jobs measured, one rank with one thread, the first."""
    seen = {}
    for row in rows:
        seen.setdefault((row["ranks"], row["threads"]), row)
    return sorted(seen.values(), key=lambda row: (row["threads"], row["ranks"]))


def other_bits(rows):
    """Messages, one for each row whose hash is not that of the first of the same net and batch."""
    hashes, found = {}, []
    for row in rows:
        first = hashes.setdefault((row["net"], row["batch"]), row)
        if first["hash"] != row["hash"]:
            found.append(f"{row['net']}, B = {row['batch']}: {row['ranks']}x{row['threads']} has hash {row['hash']}, "
                         f"{first['ranks']}x{first['threads']} has {first['hash']}")
    return found


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: scaling_plot.py CSV OUT.svg")
    rows = read(sys.argv[1])
    if not rows:
        sys.exit(f"scaling_plot.py: {sys.argv[1]} has no rows")
    different = other_bits(rows)
    for message in different:
        print(f"scaling_plot.py: other bits: {message}", file=sys.stderr)
    groups = list(dict.fromkeys((row["net"], row["scaling"]) for row in rows))
    draw = Drawing(ROW * len(groups))
    for number, (net, scaling) in enumerate(groups):
        some = once_each([row for row in rows if (row["net"], row["scaling"]) == (net, scaling)])
        top, bottom = ROW * number + TOP, ROW * (number + 1) - 70
        batch = f"B = {some[0]['batch']}" if scaling == "strong" else f"B = {some[0]['batch']} x ranks"
        short = net if len(net) <= 90 else net[:87] + "..."
        draw.text(LEFT[0], ROW * number + 26, f"{scaling} scaling, {batch}: {short}", size=15)
        draw_times(draw, some, top, bottom)
        draw_shares(draw, some, top, bottom)
    draw.write(sys.argv[2])
    batches = {(row["net"], row["batch"]) for row in rows}
    print(f"{len(rows)} rows, {len(batches)} nets and batches, {'DIFFERENT' if different else 'the same'} bits; {sys.argv[2]}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
