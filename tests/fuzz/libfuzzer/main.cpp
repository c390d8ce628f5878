// A target of tests/fuzz/targets for libFuzzer. COLLIE_FUZZ_TARGET names it.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.hpp"
#include "base/log.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/io/scratch_folder.hpp"

namespace {

using collie::test::FuzzTarget;

const FuzzTarget& chosen_target() {
  const char* name = std::getenv("COLLIE_FUZZ_TARGET");
  for (const FuzzTarget& target : collie::test::fuzz_targets())
    if (name != nullptr && target.name == name) return target;
  std::fprintf(stderr, "COLLIE_FUZZ_TARGET is none of:");
  for (const FuzzTarget& target : collie::test::fuzz_targets())
    std::fprintf(stderr, " %s", target.name.c_str());
  std::fprintf(stderr, "\n");
  std::exit(2);
}

constexpr size_t longest_message = 4096;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  spdlog::set_level(spdlog::level::off);
  chosen_target();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const FuzzTarget& target = chosen_target();
  const collie::test::ScratchFolder folder;
  try {
    target.read(folder.path(), std::string(reinterpret_cast<const char*>(data), size));
  } catch (const collie::UserError& refusal) {
    if (std::string(refusal.what()).size() <= longest_message) return 0;
    std::fprintf(stderr, "a message is too long: %.1000s\n", refusal.what());
    std::abort();
  } catch (const std::exception& fault) {
    std::fprintf(stderr, "it threw no UserError but: %.1000s\n", fault.what());
    std::abort();
  }
  return 0;
}
