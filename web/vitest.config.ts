import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const alias = {
  'runcast-client/react': at('react/index.ts'),
  'runcast-client/testing': at('testing/index.ts'),
  'runcast-client': at('client/index.ts'),
};
const react = (name: string, versions: Record<string, string>, setupFiles: string[]) => ({
  resolve: { alias: { ...alias, ...versions } },
  test: {
    name,
    include: ['react/**/*.test.tsx'],
    environment: 'happy-dom',
    setupFiles: [...setupFiles, at('react/test/setup.ts')],
    testTimeout: 30_000,
  },
});

export default defineConfig({
  test: {
    projects: [
      {
        resolve: { alias },
        test: { name: 'client', include: ['client/**/*.test.ts'] },
      },
      {
        resolve: { alias },
        test: { name: 'dashboard', include: ['dashboard/**/*.test.{ts,tsx}'], environment: 'happy-dom' },
      },
      react('react 19', {}, []),
      react('react 18', { 'react-dom': at('node_modules/react-dom18'), react: at('node_modules/react18') }, [
        at('react/test/react18.ts'),
      ]),
    ],
  },
});
