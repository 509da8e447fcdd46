// Test runner settings. The `product` project needs only Node and the build; `interop` also needs
// Debian's etcd-client and etcd-server (npm run interop).
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    testTimeout: 30_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: "product",
          include: ["test/**/*.test.ts"],
          exclude: ["test/interop/**"],
          globalSetup: ["test/build-once.ts"],
        },
      },
      {
        extends: true,
        test: {
          name: "interop",
          include: ["test/interop/**/*.test.ts"],
          globalSetup: ["test/build-once.ts"],
          fileParallelism: false,
        },
      },
    ],
  },
});
