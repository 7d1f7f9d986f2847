"""The commands of `vmat-rt`, one module each: parse options, call the library, print. Heavy imports are local."""
