// Pieces of a few lines each.
#include "base/checked.hpp"
#include "base/nearest_name.hpp"
#include "base/quote.hpp"
#include "base/registry.hpp"
#include "tests/catch.hpp"

using namespace collie;

TEST_CASE("products and sums that do not fit are nothing") {
  constexpr int64_t large = int64_t{1} << 40;
  CHECK(checked_product({}) == 1);
  CHECK(checked_product({3, 5, 7}) == 105);
  CHECK(checked_product({large, int64_t{1} << 22}) == int64_t{1} << 62);
  CHECK(checked_product({large, int64_t{1} << 23}) == std::nullopt);
  CHECK(checked_product({large, large, large, 0}) == 0);
  CHECK(checked_sum({1, 2, 3}) == 6);
  CHECK(checked_sum({INT64_MAX, 1}) == std::nullopt);
  CHECK(checked_sum({1, checked_product({large, large})}) == std::nullopt);
}

TEST_CASE("a quoted text is short, on one line and cut between characters") {
  CHECK(shortened("short") == "short");
  CHECK(shortened(std::string(60, 'a')) == std::string(60, 'a'));
  CHECK(shortened(std::string(61, 'a')) == std::string(60, 'a') + "...");
  CHECK(shortened("a\nb\tc\x1b[31m\x7f") == "a b c [31m ");
  CHECK(shortened("caf\xc3\xa9", 4) == "caf...");
  CHECK(shortened("caf\xc3\xa9", 5) == "caf\xc3\xa9");
  CHECK(shortened(std::string(100, '\xa9'), 10).size() <= 13);  // no UTF-8 at all
  CHECK(shortened("", 0).empty());
  CHECK(shortened("a", 0) == "...");
}

TEST_CASE("the nearest name is found, and none for what is like nothing") {
  const std::vector<std::string> known = {"hidden_size", "vocab_size", "head_dim"};
  CHECK(nearest_name("hiden_size", known) == "hidden_size");
  CHECK(nearest_name("Hidden-Size", known) == "hidden_size");
  CHECK(nearest_name("hidden_size_x", known) == "hidden_size");
  CHECK(nearest_name("headdim", known) == "head_dim");
  CHECK(nearest_name("elephant", known) == std::nullopt);
  CHECK(nearest_name(std::string(1 << 20, 'h'), known) == std::nullopt);
}

TEST_CASE("a registry replaces a piece for a host program, and refuses that to a plugin") {
  Registry<int> registry("tune", "tune.name");
  registry.add("march", 1);
  registry.add("march", 2);
  CHECK(registry.find("march") == 2);
  {
    const NewNamesOnly strict;
    registry.add("waltz", 3);
    CHECK_THROWS_WITH(registry.add("march", 4),
                      "tune 'march' is registered already; a plugin's pieces need names of their own");
  }
  registry.add("waltz", 5);
  CHECK(registry.find("march") == 2);
  CHECK(registry.find("waltz") == 5);
}
