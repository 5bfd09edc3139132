// The machine's Chromium, or, with BROWSER=firefox, its Firefox: that speaks WebDriver BiDi, of which playwright-core 1.65
// needs more than Debian's has.

import { chromium, firefox } from 'playwright-core';

export const isFirefox = process.env.BROWSER === 'firefox';

export const launch = () =>
  isFirefox
    ? firefox.launch({
        executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
        channel: 'moz-firefox',
        firefoxUserPrefs: { 'ui.prefersReducedMotion': 1 },
      })
    : chromium.launch({
        executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
        args: [
          '--no-sandbox',
          '--disable-gpu',
          '--disable-quic',
          '--no-first-run',
          '--disable-background-networking',
          '--disable-component-update',
          '--disable-sync',
        ],
      });
