// The file of a plugin, as it is read before anything of it runs.
#include <elf.h>

#include <cstring>

#include "base/engine_identity.hpp"
#include "base/error.hpp"
#include "io/files.hpp"
#include "io/plugin_file.hpp"
#include "io/plugins.hpp"
#include "tests/catch.hpp"
#include "tests/paths.hpp"

namespace collie::test {
namespace {

std::string refusal(const std::string& bytes) {
  try {
    return "accepted: " + interface_of_plugin(bytes, "'x.so'");
  } catch (const UserError& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("a plugin's file tells which engine it was compiled against", "[plugins]") {
  CHECK(interface_of_plugin(read_text_file(example_plugin()), "'x.so'") == engine_interface());
}

TEST_CASE("a plugin's file that is cut anywhere, or changed in its headers, is read or refused",
          "[plugins]") {
  const std::string whole = read_text_file(example_plugin());
  for (size_t size = 0; size < whole.size() / 2; size += size < 2000 ? 1 : 997) {
    CAPTURE(size);
    CHECK(refusal(whole.substr(0, size)).starts_with("'x.so' is "));
  }
  size_t accepted = 0;
  for (size_t at = 0; at < 2000; ++at) {
    for (const char value : {'\x00', '\x7f', '\xff'}) {
      std::string changed = whole;
      changed[at] = value;
      const std::string said = refusal(changed);
      CAPTURE(at, said);
      CHECK((said.starts_with("'x.so' is ") || said.starts_with("accepted: ")));
      accepted += said.starts_with("accepted: ");
    }
  }
  CHECK(accepted > 0);
}

TEST_CASE("what is no shared library, or none with the note, is no plugin", "[plugins]") {
  CHECK(refusal("") ==
        "'x.so' is not a shared library of this kind of machine; a plugin is one (docs/extending.md)");
  std::string whole = read_text_file(example_plugin());
  std::string program = whole;
  program[offsetof(Elf64_Ehdr, e_type)] = ET_EXEC;
  CHECK(refusal(program).starts_with("'x.so' is not a shared library"));
  const std::string name("collie-engine\0", 14);
  for (size_t at = whole.find(name); at != std::string::npos; at = whole.find(name, at + 1)) whole[at] = 'C';
  CHECK(refusal(whole).starts_with("'x.so' is a shared library, but not a plugin"));
}

#ifndef COLLIE_SANITIZE  // which takes a second copy of a variable for a mistake
TEST_CASE("a plugin that brings a second copy of the engine is refused", "[plugins]") {
  // This program is linked with the floors, the plugin with the shared library.
  try {
    load_plugin(example_plugin(), "c.yaml:1: plugins");
    FAIL("it was loaded");
  } catch (const UserError& error) {
    CHECK(std::string(error.what()).find("is linked with another copy of the engine") != std::string::npos);
  }
  CHECK(loaded_plugins().empty());
}
#endif

}  // namespace collie::test
