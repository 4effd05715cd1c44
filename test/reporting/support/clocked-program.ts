// The product with a wall clock that can be stepped: the clock is there before any of the product's files. It is
// compiled, because the agent starts its own executable again for the plugin server. The package declares its
// files free of side effects, so an import that gives no name would be left out.
await import("./stepped-clock.ts");
await import("../../../src/main.ts");

export {};
