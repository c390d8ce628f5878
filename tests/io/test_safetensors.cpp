#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/sha256.hpp"
#include "io/safetensors.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/paths.hpp"

using namespace collie;
using collie::test::contains;
using collie::test::TemporaryFolder;

namespace {

std::string frame(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header + data;
}

// The message with which opening a file of these contents is refused.
std::string refusal_of_weights(const std::string& content) {
  const TemporaryFolder folder;
  const auto file = folder.write("model.safetensors", content);
  try {
    SafetensorsFile opened(file);
  } catch (const UserError& error) {
    const std::string message = error.what();
    INFO(message);
    CHECK(message.find(file.string()) == 0);
    return message;
  }
  return "accepted";
}

bool says(const std::string& message, const std::string& part) {
  INFO(message);
  INFO(part);
  return message.find(part) != std::string::npos;
}

std::string tensor(const std::string& dtype, const std::string& shape, int begin, int end) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[)" + std::to_string(begin) +
         "," + std::to_string(end) + "]}";
}

std::string read_all(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

template <class T>
SafetensorsItem item(const std::string& name, const std::string& dtype, std::vector<int64_t> shape,
                     const std::vector<T>& values) {
  return {name, dtype, std::move(shape), [&values] { return std::as_bytes(std::span(values)); }};
}

}  // namespace

TEST_CASE("what safetensors writes, it reads back") {
  const TemporaryFolder folder;
  const std::vector<float> weights = {1.0f, -2.5f, 3.25f, 0.0f, -0.0f, 1e-40f};
  const std::vector<uint8_t> flags = {1, 0, 255};
  const std::vector<int64_t> counts = {-1, int64_t{1} << 40};
  const std::vector<float> none;
  const std::vector<float> scalar = {7.0f};
  const std::vector<SafetensorsItem> items = {
      item("z.flags", "U8", {3}, flags), item("a.weight", "F32", {2, 3}, weights),
      item("counts", "I64", {2}, counts), item("none", "F32", {0, 4}, none),
      item("quoted \"\xC3\xA9\"", "F32", {}, scalar)};
  const auto file = folder / "model.safetensors";
  const auto written = write_safetensors(file, items, true);
  const std::string content = read_all(file);
  CHECK(written.bytes == content.size());
  CHECK(written.sha256 == sha256_hex(std::as_bytes(std::span(content))));

  const SafetensorsFile opened(file);
  CHECK(opened.metadata() == std::map<std::string, std::string>{{"format", "pt"}});
  REQUIRE(opened.tensors().size() == 5);
  CHECK(opened.tensors()[0].name == "counts");  // wider elements first, then as given
  CHECK(opened.tensors().back().name == "z.flags");
  const auto& weight = opened.find("a.weight");
  CHECK(weight.dtype == "F32");
  CHECK(weight.element_bits == 32);
  CHECK(weight.shape == std::vector<int64_t>{2, 3});
  CHECK(weight.elements == 6);
  CHECK(std::memcmp(opened.bytes("a.weight").data(), weights.data(), weight.bytes()) == 0);
  for (const auto& each : opened.tensors()) {
    CAPTURE(each.name);
    CHECK(each.begin % static_cast<uint64_t>(each.element_bits / 8) == 0);
  }
  CHECK(opened.find("none").elements == 0);
  CHECK(opened.find("quoted \"\xC3\xA9\"").elements == 1);
  CHECK_FALSE(opened.contains("b.weight"));
  CHECK_THROWS_WITH(opened.find("b.weight"), contains("b.weight") && contains(file.string()));

  std::vector<float> values(6);
  opened.to_float("a.weight", values);
  CHECK(std::memcmp(values.data(), weights.data(), sizeof(float) * 6) == 0);
  std::vector<float> three(3);
  CHECK_THROWS_WITH(opened.to_float("z.flags", three), contains("z.flags") && contains("U8"));
}

TEST_CASE("the header is padded so that the data start at a multiple of eight") {
  const TemporaryFolder folder;
  const std::vector<uint8_t> bytes = {1};
  for (const std::string name : {"a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh"}) {
    write_safetensors(folder / "x", std::vector<SafetensorsItem>{item(name, "U8", {1}, bytes)});
    const std::string content = read_all(folder / "x");
    uint64_t length = 0;
    std::memcpy(&length, content.data(), sizeof(length));
    CHECK(length % 8 == 0);
    CHECK(content.size() == 8 + length + 1);
    CHECK(content[8] == '{');
  }
}

TEST_CASE("half, bfloat16 and double tensors become floats exactly where they can") {
  const TemporaryFolder folder;
  const std::vector<uint16_t> halves = {0x0000, 0x8000, 0x3C00, 0xC000, 0x7BFF, 0x0001,
                                        0x03FF, 0x0400, 0x7C00, 0xFC00, 0x7E00};
  const std::vector<uint16_t> brains = {0x0000, 0x8000, 0x3F80, 0xC049, 0x7F80, 0x0001};
  const std::vector<double> doubles = {0.1, -1e300, 1e-310};
  const std::vector<SafetensorsItem> items = {item("half", "F16", {11}, halves),
                                              item("brain", "BF16", {6}, brains),
                                              item("double", "F64", {3}, doubles)};
  write_safetensors(folder / "x", items);
  const SafetensorsFile file(folder / "x");
  std::vector<float> values(11);
  file.to_float("half", values);
  CHECK(values[0] == 0.0f);
  CHECK(std::signbit(values[1]));
  CHECK(values[2] == 1.0f);
  CHECK(values[3] == -2.0f);
  CHECK(values[4] == 65504.0f);
  CHECK(values[5] == 0x1.0p-24f);
  CHECK(values[6] == 1023 * 0x1.0p-24f);
  CHECK(values[7] == 0x1.0p-14f);
  CHECK(values[8] == std::numeric_limits<float>::infinity());
  CHECK(values[9] == -std::numeric_limits<float>::infinity());
  CHECK(std::isnan(values[10]));
  values.resize(6);
  file.to_float("brain", values);
  CHECK(values[2] == 1.0f);
  CHECK(values[3] == -3.140625f);
  CHECK(values[4] == std::numeric_limits<float>::infinity());
  CHECK(values[5] == std::ldexp(1.0f, -133));
  values.resize(3);
  file.to_float("double", values);
  CHECK(values[0] == 0.1f);
  CHECK(values[1] == -std::numeric_limits<float>::infinity());
  CHECK(values[2] == 0.0f);
}

TEST_CASE("a file whose header is not aligned is read all the same") {
  const TemporaryFolder folder;
  const float value = 1.5f;
  for (int pad = 0; pad < 8; ++pad) {
    const std::string header =
        R"({"x":)" + tensor("F32", "[1]", 0, 4) + "}" + std::string(static_cast<size_t>(pad), ' ');
    folder.write("x", frame(header, std::string(reinterpret_cast<const char*>(&value), 4)));
    std::vector<float> read(1);
    SafetensorsFile(folder / "x").to_float("x", read);
    CHECK(read[0] == 1.5f);
  }
}

TEST_CASE("a missing or odd safetensors file is refused and named") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(SafetensorsFile(folder / "absent"), contains("absent") && contains("No such file"));
  CHECK_THROWS_AS(SafetensorsFile(folder.path()), UserError);
}

TEST_CASE("a truncated safetensors file is refused and named") {
  CHECK(says(refusal_of_weights(""), "8-byte header length"));
  CHECK(says(refusal_of_weights("1234567"), "it has 7 bytes"));
  const std::string whole = frame(R"({"x":)" + tensor("F32", "[4]", 0, 16) + "}", std::string(16, 'x'));
  CHECK(refusal_of_weights(whole) == "accepted");
  for (size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(refusal_of_weights(whole.substr(0, size)) != "accepted");
  }
  CHECK(says(refusal_of_weights(whole.substr(0, whole.size() - 1)), "truncated"));
  CHECK(says(refusal_of_weights(whole.substr(0, whole.size() - 1)), "'x'"));
}

TEST_CASE("a header that is not a JSON object is refused") {
  CHECK(says(refusal_of_weights(frame("", "")), "JSON object"));
  CHECK(says(refusal_of_weights(frame("[]", "")), "JSON object"));
  CHECK(says(refusal_of_weights(frame(" {}", "")), "JSON object"));
  CHECK(says(refusal_of_weights(frame("{\"a\":", "")), "not JSON"));
  CHECK(says(refusal_of_weights(frame("{} {}", "")), "not JSON"));
  CHECK(says(refusal_of_weights(frame("{\"\xFF\":1}", "")), "not JSON"));
  CHECK(says(refusal_of_weights(frame(R"({"x":1})", "")), "'x' is number"));
  CHECK(refusal_of_weights(frame("{}   ", "")) == "accepted");
}

TEST_CASE("a header length beyond the limit or the file is refused") {
  std::string content = frame("{}", "");
  const uint64_t huge = 100'000'001, beyond = 3, most = ~uint64_t{0};
  for (const auto& [length, part] :
       {std::pair(huge, "at most 100000000"), std::pair(beyond, "only 2 bytes follow"),
        std::pair(most, "at most 100000000")}) {
    std::memcpy(content.data(), &length, sizeof(length));
    CHECK(says(refusal_of_weights(content), part));
  }
}

TEST_CASE("a repeated key in the header is refused") {
  CHECK(says(refusal_of_weights(frame(
                 R"({"x":)" + tensor("U8", "[0]", 0, 0) + R"(,"x":)" + tensor("U8", "[1]", 0, 1) + "}", "d")),
             "key 'x' is there twice"));
  CHECK(says(
      refusal_of_weights(frame(R"({"x":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0]}})", "")),
      "twice"));
}

TEST_CASE("a tensor's dtype, shape and offsets must be there and make sense") {
  const auto one = [](const std::string& description, const std::string& data = std::string(8, 'd')) {
    return refusal_of_weights(frame(R"({"w":)" + description + "}", data));
  };
  CHECK(one(tensor("F32", "[2]", 0, 8)) == "accepted");
  CHECK(one(tensor("F4", "[16]", 0, 8)) == "accepted");
  CHECK(says(one(R"({"shape":[2],"data_offsets":[0,8]})"), "'w' has no dtype"));
  CHECK(says(one(R"({"dtype":"F32","data_offsets":[0,8]})"), "'w' has no shape"));
  CHECK(says(one(R"({"dtype":"F32","shape":[2]})"), "'w' has no data_offsets"));
  CHECK(says(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1})"), "unknown key 'more'"));
  CHECK(says(one(tensor("F31", "[2]", 0, 8)), "unknown dtype 'F31'; known: BOOL"));
  CHECK(says(one(R"({"dtype":3,"shape":[2],"data_offsets":[0,8]})"), "dtype is number"));
  CHECK(says(one(tensor("F32", "[-2]", 0, 8)), "[-2]"));
  CHECK(says(one(tensor("F32", "[2.0]", 0, 8)), "[2.0]"));
  CHECK(says(one(tensor("F32", "2", 0, 8)), "list of sizes"));
  CHECK(says(one(tensor("F32", "[4294967296,4294967296]", 0, 8)), "more elements than any file"));
  CHECK(says(one(tensor("F32", "[9223372036854775807]", 0, 8)), "too many bits"));
  CHECK(says(one(tensor("F32", "[18446744073709551615]", 0, 8)), "more elements"));
  CHECK(says(one(tensor("F32", "[3]", 0, 8)), "hold 8 bytes, but shape [3] of F32 needs 96 bits"));
  CHECK(says(one(tensor("F4", "[15]", 0, 8)), "needs 60 bits"));
  CHECK(says(one(tensor("F32", "[2]", 8, 0)), "[8, 0]"));
  CHECK(says(one(tensor("F32", "[4]", 0, 16)), "truncated"));
  CHECK(says(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})"), "[begin, end]"));
  CHECK(says(one(R"({"dtype":"F32","shape":[2],"data_offsets":[-8,0]})"), "[begin, end]"));
}

TEST_CASE("tensors that overlap, leave holes or end early are refused") {
  const auto two = [](int begin, int end, size_t size) {
    return refusal_of_weights(frame(R"({"a":)" + tensor("U8", "[4]", 0, 4) + R"(,"b":)" +
                                        tensor("U8", fmt::format("[{}]", end - begin), begin, end) + "}",
                                    std::string(size, 'd')));
  };
  CHECK(two(4, 8, 8) == "accepted");
  CHECK(says(two(3, 8, 8), "overlap"));
  CHECK(says(two(0, 4, 4), "overlap"));
  CHECK(says(two(5, 8, 8), "no hole"));
  CHECK(says(two(4, 8, 9), "1 bytes follow"));
  CHECK(says(refusal_of_weights(frame("{}", "x")), "1 bytes follow"));
}

TEST_CASE("the metadata must be strings") {
  CHECK(refusal_of_weights(frame(R"({"__metadata__":{"a":"b"}})", "")) == "accepted");
  CHECK(says(refusal_of_weights(frame(R"({"__metadata__":{"a":1}})", "")), "__metadata__ 'a'"));
  CHECK(says(refusal_of_weights(frame(R"({"__metadata__":["a"]})", "")), "object of strings"));
}

TEST_CASE("any single changed byte of the header is refused or still consistent") {
  const std::string whole = frame(
      R"({"__metadata__":{"format":"pt"},"x":)" + tensor("F32", "[2,2]", 0, 16) + "}", std::string(16, 'x'));
  const TemporaryFolder folder;
  for (size_t place = 0; place + 16 < whole.size(); ++place)
    for (const char byte : {'9', '"'}) {
      std::string changed = whole;
      changed[place] = byte;
      const auto file = folder.write("x", changed);
      CAPTURE(place, static_cast<int>(byte));
      try {
        const SafetensorsFile opened(file);
        size_t total = 0;
        for (const auto& each : opened.tensors()) total += each.bytes();
        CHECK(total == 16);
      } catch (const UserError&) {
      }
    }
}

TEST_CASE("a full disk while writing safetensors is a failure of the run that names the file") {
  if (!std::filesystem::exists("/dev/full")) {
    WARN("no /dev/full here: skipped");
    return;
  }
  const std::vector<float> values(4096);
  const std::vector<SafetensorsItem> items = {item("w", "F32", {4096}, values)};
  CHECK_THROWS_AS(write_safetensors("/dev/full", items), RunError);
  CHECK_THROWS_WITH(write_safetensors("/dev/full", items),
                    contains("/dev/full") && contains("No space left on device"));
  CHECK(std::filesystem::exists("/dev/full"));
}

TEST_CASE("a file that could not be written whole is removed") {
  const TemporaryFolder folder;
  const auto file = folder / "model.safetensors";
  const std::vector<SafetensorsItem> items = {
      {"w", "F32", {1}, []() -> std::span<const std::byte> { throw RunError("the tensor is gone"); }}};
  CHECK_THROWS_WITH(write_safetensors(file, items), "the tensor is gone");
  CHECK_FALSE(std::filesystem::exists(file));
  CHECK_THROWS_WITH(write_safetensors(folder / "no" / "x", items), contains("No such file or directory"));
}

TEST_CASE("a real checkpoint is read") {
  const std::filesystem::path file = test::shared_data("stories260K/model.safetensors");
  if (!std::filesystem::exists(file)) {
    WARN(file << " is absent: skipped");
    return;
  }
  const SafetensorsFile opened(file);
  CHECK(opened.metadata().at("format") == "pt");
  CHECK(opened.find("model.embed_tokens.weight").shape == std::vector<int64_t>{512, 64});
  int64_t parameters = 0;
  for (const auto& each : opened.tensors()) parameters += each.elements;
  CHECK(parameters == 260'032);
}
