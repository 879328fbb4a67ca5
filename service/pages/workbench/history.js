// The last minutes of one track's labels, a mean per second.

export const SPAN_S = 180;

export class History {
  constructor() {
    this.clear();
  }

  clear() {
    this.seconds = new Map();
    this.trail = [];
  }

  /** @param {number} atMs @param {number[]} shares in the labels' order, or valence and arousal @param {{valence?: number, arousal?: number}} affect */
  add(atMs, shares, affect) {
    const second = Math.floor(atMs / 1000);
    const bucket = this.seconds.get(second) ?? { count: 0, sums: shares.map(() => 0) };
    bucket.count += 1;
    shares.forEach((share, index) => {
      bucket.sums[index] += share;
    });
    this.seconds.set(second, bucket);
    for (const old of this.seconds.keys()) {
      if (old >= second - SPAN_S - 1) break;
      this.seconds.delete(old);
    }
    if (affect.valence !== undefined || affect.arousal !== undefined) {
      this.trail.push({ x: affect.valence, y: affect.arousal });
      if (this.trail.length > 40) this.trail.shift();
    }
  }

  /** Points of the last minutes, x in seconds before `nowMs`; more than `pace` seconds without a label are a gap. */
  points(nowMs, pace = 1) {
    const now = nowMs / 1000;
    const points = [];
    let before = null;
    for (const [second, { count, sums }] of this.seconds) {
      if (before !== null && second > before + pace) points.push({ x: before + 1.5 - now, shares: null });
      const shares = sums.map((sum) => sum / count);
      if (before === null || second > before + pace) points.push({ x: second - now, shares });
      points.push({ x: Math.min(second + 1 - now, 0), shares });
      before = second;
    }
    return points;
  }
}

/** Events per second over the last two seconds, and the median of a number that comes with them. */
export class Rate {
  constructor() {
    this.clear();
  }

  clear() {
    this.events = [];
  }

  add(value) {
    const now = performance.now();
    this.events.push([now, value]);
    while (this.events[0][0] < now - 2000) this.events.shift();
  }

  get perSecond() {
    const now = performance.now();
    const recent = this.events.filter(([at]) => at >= now - 2000);
    if (recent.length < 2) return null;
    const [first, last] = [recent[0][0], recent.at(-1)[0]];
    return last > first ? ((recent.length - 1) * 1000) / (last - first) : null;
  }

  get median() {
    const now = performance.now();
    const values = this.events.filter(([at, value]) => at >= now - 2000 && value !== null).map(([, value]) => value);
    values.sort((a, b) => a - b);
    return values.length ? values[values.length >> 1] : null;
  }
}
