/** The package's version. It is a constant because a module on JSR has no package.json beside it. */
export const VERSION: string = "0.1.0";
