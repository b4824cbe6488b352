/* rigging.ts -- ropes and sails
 *
 * Copyright (c) 2025 Ida Example. All rights reserved.
 */
import { Rope } from 'ropes/**/*.js';

/** How a sail hangs. */
export interface Sail { area: number; }

/**
 * A mast with sails.
 */
@Injectable()
export class Mast<T extends Sail> {
  private sails: T[] = [];

  constructor(private readonly height: number) {}

  /** Hoist one. */
  async hoist(
    sail: T,
  ): Promise<void> {
    if (this.sails.length) {
      await wait(`
function notOne() {
`);
    }
  }
}

export const furl = async (mast: Mast<Sail>) => {
  mast.sails = [];
};

declare function reef(n: number): void;
