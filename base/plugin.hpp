// What makes a shared library a plugin: pieces that a run gets by `plugins: [PATH]`, without a host program.
//
//   void register_pieces() { collie::losses().add("mine", ...); }
//   COLLIE_PLUGIN(register_pieces)
//
// in one source file of a library that is linked with collie::engine (docs/extending.md, examples/plugin).
// Only plugins include this file; io/plugins.hpp loads them.
#pragma once

#include "base/engine_identity.hpp"
#include "base/interface.hpp"  // made by the build

// An ELF note (name "collie-engine", type 1) says against which headers the plugin was compiled. It can be
// read without running anything of the library, so a plugin for another version is refused before it is
// loaded. The entry point registers nothing, and returns false, if the library has a copy of the engine of
// its own, whose registries nobody reads.
#define COLLIE_PLUGIN(register_pieces)                                                                \
  __asm__(                                                                                            \
      ".pushsection .note.collie-engine,\"a\",%note\n"                                                \
      ".balign 4\n"                                                                                   \
      ".long 2f-1f\n"                                                                                 \
      ".long 4f-3f\n"                                                                                 \
      ".long 1\n"                                                                                     \
      "1: .asciz \"collie-engine\"\n"                                                                 \
      "2: .balign 4\n"                                                                                \
      "3: .ascii \"" COLLIE_INTERFACE                                                                 \
      "\"\n"                                                                                          \
      "4: .balign 4\n"                                                                                \
      ".popsection\n");                                                                               \
  extern "C" __attribute__((visibility("default"))) bool collie_register_plugin(const void* engine) { \
    if (engine != ::collie::this_engine()) return false;                                              \
    register_pieces();                                                                                \
    return true;                                                                                      \
  }
