/**
 * The states of a device that a policy has rules for. Only those are read that its rules ask for, and nothing of them leaves the
 * page but what follows from it.
 */

import type { DeviceState, ResolvedPolicy } from './sharing.js';

/** Share of the battery, 0 to 1, from which on it is low. */
const LOW_BATTERY = 0.2;

// Neither is in every browser, nor in TypeScript's libraries.
interface Connection extends EventTarget {
  readonly saveData?: boolean;
  readonly type?: string;
}

interface Battery extends EventTarget {
  readonly charging: boolean;
  readonly level: number;
}

interface Device {
  readonly connection?: Connection;
  getBattery?(): Promise<Battery>;
}

/** Watches a device. @internal */
export class DeviceWatch {
  readonly #states = new Set<DeviceState>();
  readonly #changed: () => void;
  readonly #endings: (() => void)[] = [];
  #stopped = false;

  /** Tells of every change after the constructor has returned; what is so already is in {@link states} then. */
  constructor(policy: ResolvedPolicy, changed: () => void) {
    this.#changed = changed;
    const device: Device | undefined = globalThis.navigator as Device | undefined;
    if (policy.metered !== 'full' && device?.connection) this.#watchConnection(device.connection);
    if (policy.hidden !== 'full' && typeof document === 'object') this.#watchPage(document);
    if (policy.lowBattery !== 'full') void this.#watchBattery(device);
  }

  /** What is so now. */
  get states(): ReadonlySet<DeviceState> {
    return this.#states;
  }

  /** Lets go of everything that is listened to. */
  stop(): void {
    this.#stopped = true;
    for (const end of this.#endings.splice(0)) end();
  }

  #watchConnection(connection: Connection): void {
    const isMetered = () => connection.saveData === true || connection.type === 'cellular';
    this.#watch('metered', connection, ['change'], isMetered);
  }

  #watchPage(page: Document): void {
    this.#watch('hidden', page, ['visibilitychange'], () => page.visibilityState === 'hidden');
  }

  async #watchBattery(device: Device | undefined): Promise<void> {
    try {
      const battery = await device?.getBattery?.();
      if (!battery || this.#stopped) return;
      const isLow = () => !battery.charging && battery.level <= LOW_BATTERY;
      this.#watch('lowBattery', battery, ['chargingchange', 'levelchange'], isLow);
      if (this.#states.has('lowBattery')) this.#changed();
    } catch {
      // A page whose permissions policy forbids it is not told.
    }
  }

  #watch(state: DeviceState, target: EventTarget, events: readonly string[], isSo: () => boolean): void {
    const read = () => (isSo() ? this.#states.add(state) : this.#states.delete(state));
    const changed = () => {
      read();
      this.#changed();
    };
    read();
    for (const event of events) {
      target.addEventListener(event, changed);
      this.#endings.push(() => target.removeEventListener(event, changed));
    }
  }
}
