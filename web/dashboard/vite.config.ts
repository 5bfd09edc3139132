import { fileURLToPath } from 'node:url';
import tailwindcss from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: here('.'),
  // Relative, so that the files can be served from any folder.
  base: './',
  plugins: [react(), tailwindcss()],
  resolve: {
    alias: {
      'runcast-client/react': here('../react/index.ts'),
      'runcast-client': here('../client/index.ts'),
    },
  },
  build: {
    outDir: here('../dist'),
    emptyOutDir: true,
    target: 'es2022',
    // The first page is one file, so that nothing waits for a second round trip; its policy needs no inline script.
    modulePreload: false,
    assetsInlineLimit: 0,
  },
  // `npx vite -c dashboard/vite.config.ts`, beside `runcast demo`.
  server: {
    host: '127.0.0.1',
    proxy: Object.fromEntries(
      ['/api', '/_local', '/config.json'].map((path) => [path, 'http://127.0.0.1:8787']),
    ),
  },
});
