import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { DeviceWatch } from '../src/device.js';
import { Tabswarm, type TabswarmOptions } from '../src/index.js';
import { DEFAULT_POLICY, strictest, type Sharing, type SharingReason } from '../src/sharing.js';
import { Origin, pretendBrowser, until } from './environment.js';

/** Something with states and events that counts who listens. */
class Source extends EventTarget {
  listeners = 0;

  constructor(state: object = {}) {
    super();
    Object.assign(this, state);
  }

  override addEventListener(...args: Parameters<EventTarget['addEventListener']>): void {
    this.listeners += 1;
    super.addEventListener(...args);
  }

  override removeEventListener(...args: Parameters<EventTarget['removeEventListener']>): void {
    this.listeners -= 1;
    super.removeEventListener(...args);
  }

  become(event: string, state: object): void {
    Object.assign(this, state);
    this.dispatchEvent(new Event(event));
  }
}

const ALL_OFF = { metered: 'off', hidden: 'off', lowBattery: 'off' } as const;
const ALL_FULL = { metered: 'full', hidden: 'full', lowBattery: 'full' } as const;

afterEach(() => vi.unstubAllGlobals());

/** A device on a good line, looked at, with a full battery. */
function device() {
  const connection = new Source({ saveData: false, type: 'wifi' });
  const battery = new Source({ charging: false, level: 1 });
  const page = new Source({ visibilityState: 'visible' });
  const getBattery = vi.fn(() => Promise.resolve(battery));
  vi.stubGlobal('navigator', { connection, getBattery });
  vi.stubGlobal('document', page);
  return { connection, battery, page, getBattery };
}

test('of several rules the strictest counts, and all that are as strict are told', () => {
  const of = (...rules: [SharingReason, Sharing][]) => strictest(new Map(rules));
  expect(of()).toEqual({ sharing: 'full', reasons: [] });
  expect(of(['hidden', 'full'])).toEqual({ sharing: 'full', reasons: [] });
  expect(of(['hidden', 'full'], ['metered', 'download-only'])).toEqual({ sharing: 'download-only', reasons: ['metered'] });
  expect(of(['hidden', 'off'], ['metered', 'download-only'], ['disabled', 'off'])).toEqual({
    sharing: 'off',
    reasons: ['hidden', 'disabled'],
  });
});

describe('a device', () => {
  test('is metered on a cellular line or with the data saver on', () => {
    const { connection } = device();
    const changed = vi.fn();
    const { states } = new DeviceWatch(DEFAULT_POLICY, changed);
    expect([...states]).toEqual([]);
    connection.become('change', { type: 'cellular' });
    expect([...states]).toEqual(['metered']);
    connection.become('change', { type: 'wifi', saveData: true });
    expect([...states]).toEqual(['metered']);
    connection.become('change', { saveData: false });
    expect([...states]).toEqual([]);
    expect(changed).toHaveBeenCalledTimes(3);
  });

  test('is low on battery at a fifth of it or less, while nothing charges it', async () => {
    const { battery } = device();
    const changed = vi.fn();
    const { states } = new DeviceWatch(DEFAULT_POLICY, changed);
    await until('the battery is watched', () => battery.listeners === 2);
    expect(changed).not.toHaveBeenCalled();
    battery.become('levelchange', { level: 0.2 });
    expect([...states]).toEqual(['lowBattery']);
    battery.become('chargingchange', { charging: true });
    expect([...states]).toEqual([]);
    battery.become('chargingchange', { charging: false, level: 0.21 });
    expect([...states]).toEqual([]);
  });

  test('whose battery is low from the start says so when it is known', async () => {
    const { battery } = device();
    Object.assign(battery, { level: 0.1 });
    const changed = vi.fn();
    const { states } = new DeviceWatch(DEFAULT_POLICY, changed);
    await until('it was told', () => changed.mock.calls.length === 1);
    expect([...states]).toEqual(['lowBattery']);
  });

  test('is asked for nothing that no rule needs', () => {
    const { connection, page, getBattery } = device();
    Object.assign(connection, { saveData: true });
    expect([...new DeviceWatch(ALL_FULL, () => undefined).states]).toEqual([]);
    expect(connection.listeners + page.listeners).toBe(0);
    expect(getBattery).not.toHaveBeenCalled();
  });

  test('is let go of, its battery too if that comes later', async () => {
    const { connection, battery, page, getBattery } = device();
    const early = new DeviceWatch(ALL_OFF, () => undefined);
    await until('everything is watched', () => connection.listeners + page.listeners + battery.listeners === 4);
    early.stop();
    const late = new DeviceWatch(ALL_OFF, () => undefined);
    late.stop();
    await getBattery.mock.results[1]?.value;
    await Promise.resolve();
    expect([connection.listeners, page.listeners, battery.listeners]).toEqual([0, 0, 0]);
  });

  test('that tells nothing, or forbids to ask, is in no state', async () => {
    vi.stubGlobal('navigator', undefined);
    expect([...new DeviceWatch(ALL_OFF, () => undefined).states]).toEqual([]);
    const refused = Promise.reject(new DOMException('not here', 'NotAllowedError'));
    vi.stubGlobal('navigator', { getBattery: () => refused });
    const { states } = new DeviceWatch(ALL_OFF, () => undefined);
    await refused.catch(() => undefined);
    expect([...states]).toEqual([]);
  });
});

describe('an instance', () => {
  let origin: Origin;
  beforeEach(async () => {
    pretendBrowser();
    origin = await Origin.start();
  });
  afterEach(() => origin.close());

  /** An instance, and what its events said. */
  async function made(options: TabswarmOptions) {
    const wasmUrl = origin.url('/tabswarm_bg.wasm');
    const swarm = await Tabswarm.create({ signaling: 'ws://127.0.0.1:9/swarm', wasmUrl, ...options });
    const heard: unknown[] = [];
    swarm.addEventListener('sharing', ({ detail }) => heard.push([detail.sharing, ...detail.reasons]));
    swarm.addEventListener('state', ({ detail }) => heard.push(detail.mode));
    const says = () => {
      const { mode, sharing, sharingReasons } = swarm.stats();
      return [mode, sharing, ...sharingReasons];
    };
    return { swarm, heard, says };
  }

  test('follows its policy, and says what is shared and why', async () => {
    const { connection, page } = device();
    Object.assign(connection, { saveData: true });
    const { swarm, heard, says } = await made({ policy: { hidden: 'off' } });
    expect(says()).toEqual(['p2p', 'download-only', 'metered']);
    page.become('visibilitychange', { visibilityState: 'hidden' });
    expect(says()).toEqual(['off', 'off', 'hidden']);
    connection.become('change', { saveData: false });
    page.become('visibilitychange', { visibilityState: 'visible' });
    expect(says()).toEqual(['p2p', 'full']);
    expect(heard).toEqual([['off', 'hidden'], 'off', ['full'], 'p2p']);
    swarm.destroy();
    page.become('visibilitychange', { visibilityState: 'hidden' });
    expect(heard).toHaveLength(4);
    expect([connection.listeners, page.listeners]).toEqual([0, 0]);
  });

  test('that is disabled or gives nothing by its options says so', async () => {
    device();
    const { swarm, heard, says } = await made({ consent: 'manual', uploadLimit: 0 });
    expect(says()).toEqual(['off', 'off', 'disabled']);
    swarm.enable();
    expect(says()).toEqual(['p2p', 'download-only', 'uploadLimit']);
    swarm.disable();
    expect(heard).toEqual([['download-only', 'uploadLimit'], 'p2p', ['off', 'disabled'], 'off']);
    swarm.destroy();
    expect(says()).toEqual(['http', 'off']);
  });

  test('that the page switched on leaves its swarm where the policy says so', async () => {
    const { connection } = device();
    Object.assign(connection, { type: 'cellular' });
    const { swarm, says } = await made({ consent: 'manual', policy: { metered: 'off' } });
    swarm.enable();
    expect(says()).toEqual(['off', 'off', 'metered']);
    swarm.destroy();
  });
});
