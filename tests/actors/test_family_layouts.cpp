// Every family of models in layouts that have every pair of options, against one rank.
#include <sstream>

#include "models/families/family.hpp"
#include "tests/actors/adapter_runs.hpp"
#include "tests/catch.hpp"

namespace collie::test {
namespace {

std::vector<std::string> all_family_names() {
  std::vector<std::string> names = {"chatglm_6b"};  // known by the name of another one
  std::istringstream known(known_families());
  for (std::string name; std::getline(known, name, ',');)
    names.push_back(name.substr(name.find_first_not_of(' ')));
  return names;
}

// Steps have 16 sequences, so micro-batches of 4 leave four replicas one each. Two of three cases are tied,
// so that both go with every option. Documents with blanks have a masked context, are not packed, and no
// ranks share their tokens.
std::vector<LayoutCase> cases_of_family(const std::string& family) {
  std::vector<LayoutCase> all;
  const bool has_blanks = family == "chatglm_6b";
  size_t number = 0;
  for (const LayoutOptions& layout : all_layouts())
    for (const char* dtype : {"float32", "bfloat16"})
      for (const int64_t size : {1, 4}) {
        const bool tied = number++ % 3 != 0;
        MathsOptions maths{tied, tied && !has_blanks, has_blanks, 16, size};
        maths.family = family;
        maths.dtype = dtype;
        const LayoutCase each{maths, layout};
        if (each.is_possible() && !(has_blanks && layout.cp > 1)) all.push_back(each);
      }
  return all;
}

}  // namespace

TEST_CASE("layouts: every family trains as on one rank in every pair of options",
          "[actors][layouts][families][slow][long]") {
  for (const std::string& family : all_family_names()) {
    DYNAMIC_SECTION(family) {
      check_covering_cases(cases_of_family(family));
    }
  }
}

TEST_CASE("layouts: sliding windows train as on one rank where ranks share the tokens",
          "[actors][layouts][windows][slow]") {
  for (const char* family : {"gemma2", "mistral"}) {
    MathsOptions maths{family == std::string("gemma2"), true, false, 16, 2};
    maths.family = family;
    check_in_layouts(maths,
                     {{1, 1, 1, 2, "1f1b"},
                      {1, 1, 2, 4, "zb_h1"},
                      {2, 2, 1, 2, "1f1b", 3, true},
                      {2, 1, 2, 2, "zbv", 1},
                      {4, 1, 1, 2, "1f1b", 2}},
                     1);
    LayoutOptions again{1, 1, 2, 2, "zb_h1"};
    again.recompute = "full";
    check_in_layouts(maths, {again}, 0);
    maths.dtype = "bfloat16";
    check_bfloat16_in_layouts(maths, {{1, 1, 1, 2, "1f1b"}, {1, 2, 2, 2, "zbv"}});
  }
}

}  // namespace collie::test
