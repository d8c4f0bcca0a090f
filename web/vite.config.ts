import { svelte, vitePreprocess } from "@sveltejs/vite-plugin-svelte";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { defineConfig, type Plugin } from "vite";

// sourceDigest writes dist/source.txt: a digest of everything dist is built
// from. A Go test compares it, so that a forgotten build is found without Node.
function sourceDigest(): Plugin {
  return {
    name: "source-digest",
    generateBundle() {
      const names = ["index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts"];
      for (const dir of ["public", "src"]) {
        for (const f of readdirSync(dir, { recursive: true, withFileTypes: true })) {
          if (f.isFile()) names.push(`${f.parentPath}/${f.name}`.replaceAll("\\", "/"));
        }
      }
      const sums = names.sort().map((n) => `${createHash("sha256").update(readFileSync(n)).digest("hex")}  ${n}\n`);
      this.emitFile({ type: "asset", fileName: "source.txt", source: sums.join("") });
    },
  };
}

export default defineConfig({
  base: "/",
  plugins: [svelte({ preprocess: vitePreprocess() }), sourceDigest()],
  build: {
    target: "es2024",
    outDir: "dist",
    emptyOutDir: true,
    assetsInlineLimit: 0, // the policy allows no data: scripts or styles
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: { proxy: { "/api": process.env.WARDEN_SERVER ?? "http://127.0.0.1:8080" } },
});
