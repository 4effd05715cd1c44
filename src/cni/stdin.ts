/** The limit is far beyond any real configuration and bounds the memory that a broken caller can occupy. */
export const maxStdinBytes = 1024 * 1024;
