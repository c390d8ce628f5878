// Codes and scales of whole matrices against bitsandbytes' (tests/golden/make_quantisation_golden.py).
#include "kernels/quantise.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/sha256.hpp"
#include "tests/catch.hpp"

using namespace collie;
using nlohmann::json;

namespace {

const std::map<std::string, QuantisedKind> kinds{
    {"nf4", QuantisedKind::nf4}, {"fp4", QuantisedKind::fp4}, {"int8", QuantisedKind::int8}};

// As the script: around each number that is half-way between two codes; 1 begins each block of 64.
std::vector<float> critical_values(QuantisedKind kind) {
  const auto& codes = values_of_codes(kind == QuantisedKind::int8 ? QuantisedKind::nf4 : kind);
  const std::set<float> ordered(codes.begin(), codes.end());
  std::vector<float> numbers;
  for (auto low = ordered.begin(), high = std::next(low); high != ordered.end(); ++low, ++high) {
    const float middle = (*low + *high) / 2;
    for (const float x : {std::nextafter(middle, -2.0F), middle, std::nextafter(middle, 2.0F)})
      numbers.push_back(x);
  }
  std::vector<float> values;
  for (const float number : numbers) {
    if (values.size() % 64 == 0) values.push_back(1);
    values.push_back(number);
  }
  values.resize(192, 0);
  for (size_t block = 0; block < values.size(); block += 64) values[block] = 1;
  return values;
}

std::vector<float> values_of(const json& golden) {
  const auto name = golden.at("name").get<std::string>();
  if (name == "critical") return critical_values(kinds.at(golden.at("kind")));
  const auto rows = golden.at("rows").get<int64_t>(), columns = golden.at("columns").get<int64_t>();
  std::vector<float> values;
  for (int64_t i = 0; i < rows * columns; ++i) {
    const int64_t at = name == "equal" ? i % columns : i;
    const double x = std::sin(0.7 * static_cast<double>(at) + 1.3 * static_cast<double>(name.size()) + 0.1) *
                     std::exp2(static_cast<double>(at / 5 * 5 % 9 - 4));
    const bool is_zero = name == "zeros" && i / columns >= 3 && i / columns < 6;
    values.push_back(is_zero ? 0.0F : static_cast<float>(x));
  }
  return values;
}

template <class T>
void is_as(const json& golden, const std::vector<T>& found) {
  if (golden.contains("numbers")) {
    const auto expected = golden.at("numbers").get<std::vector<double>>();
    REQUIRE(found.size() == expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      INFO("number " << i);
      const double value = static_cast<double>(found[i]);
      CHECK(std::fmod(value - expected[i], 256) == 0);  // bytes may be signed there
    }
  }
  CHECK(sha256_hex(std::as_bytes(std::span(found))) == golden.at("sha256").get<std::string>());
}

void on_this_thread(int64_t count, int64_t piece, const std::function<void(int64_t, int64_t)>& f) {
  for (int64_t first = 0; first < count; first += piece) f(first, std::min(count, first + piece));
}

WholeQuantised quantised(const Quantisation& quantisation, int64_t rows, int64_t columns,
                         const std::vector<float>& values) {
  return quantise(
      quantisation, rows, columns,
      [&](int64_t begin, std::span<float> some) {
        std::copy_n(values.begin() + begin, some.size(), some.begin());
      },
      on_this_thread);
}

}  // namespace

TEST_CASE("codes, scales and values of a quantised matrix have bitsandbytes' bits", "[quantise][golden]") {
  const json all =
      json::parse(std::ifstream(std::string(COLLIE_SOURCE_DIR) + "/tests/golden/quantisation.json"));
  CHECK(all.size() == 40);
  for (const json& golden : all) {
    const Quantisation quantisation{kinds.at(golden.at("kind")), golden.at("double_quant").get<bool>(),
                                    golden.at("block_size").get<int64_t>()};
    CAPTURE(golden.at("name").get<std::string>(), golden.at("kind").get<std::string>(),
            quantisation.double_quant);
    const WholeQuantised whole = quantised(quantisation, golden.at("rows").get<int64_t>(),
                                           golden.at("columns").get<int64_t>(), values_of(golden));
    is_as(golden.at("codes"), whole.codes);
    if (quantisation.double_quant) {
      is_as(golden.at("scales"), whole.scale_codes);
      is_as(golden.at("nested"), whole.nested_scales);
      CHECK(whole.offset == golden.at("offset").get<float>());
    } else {
      is_as(golden.at("scales"), whole.scales);
    }
    std::vector<float> values(static_cast<size_t>(whole.elements()));
    whole.decode(0, values);
    is_as(golden.at("values"), values);
  }
}

TEST_CASE("a part of a quantised matrix has the values of the whole", "[quantise]") {
  const int64_t rows = 7, columns = 37;
  std::vector<float> values;
  for (int64_t i = 0; i < rows * columns; ++i) values.push_back(std::sin(static_cast<float>(i * i)));
  for (const auto& [name, kind] : kinds) {
    CAPTURE(name);
    const WholeQuantised whole = quantised({kind, kind != QuantisedKind::int8, 32}, rows, columns, values);
    std::vector<float> all(values.size()), part(50);
    whole.decode(0, all);
    for (const int64_t begin : {int64_t{0}, int64_t{31}, int64_t{33}, int64_t{200}}) {
      whole.decode(begin, part);
      CHECK(std::equal(part.begin(), part.end(), all.begin() + begin));
    }
  }
}

TEST_CASE("a number that is not finite shows in a matrix' scales", "[quantise]") {
  for (const float broken : {std::nanf(""), INFINITY}) {
    std::vector<float> values(64, 0.5F);
    values[13] = broken;
    for (const auto& [name, kind] : kinds) {
      CAPTURE(name, broken);
      CHECK_FALSE(std::isfinite(quantised({kind, false, 64}, 1, 64, values).scale(0)));
      if (kind != QuantisedKind::int8)
        CHECK_FALSE(std::isfinite(quantised({kind, true, 64}, 1, 64, values).scale(0)));
    }
  }
}
