#include "io/torch_file.hpp"

#include <bit>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "io/files.hpp"
#include "io/half.hpp"
#include "io/pickled_tensors.hpp"
#include "tests/catch.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/io/torch_archive.hpp"
#include "tests/paths.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

namespace {

json golden_of_weights(const std::string& name) {
  return json::parse(read_text_file(golden_file("weights/" + name)));
}

std::vector<float> values_of(const PositionalFile& file, const StoredTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.elements));
  TensorReader(file, tensor).read(0, values);
  return values;
}

std::string dtype_by_torch(const std::string& dtype) {
  const std::map<std::string, std::string> names = {{"F32", "float32"},   {"F16", "float16"},
                                                    {"BF16", "bfloat16"}, {"F64", "float64"},
                                                    {"I64", "int64"},     {"BOOL", "bool"}};
  return names.at(dtype);
}

void check_tensors(const std::string& name, size_t count) {
  const PositionalFile file(golden_file("weights/" + name));
  const json expected = golden_of_weights("tensors.json");
  const std::vector<StoredTensor> tensors = read_torch_tensors(file);
  CHECK(tensors.size() == count);
  for (const StoredTensor& tensor : tensors) {
    CAPTURE(tensor.name);
    const json& one = expected.at(tensor.name);
    CHECK(dtype_by_torch(tensor.dtype) == one.at("dtype"));
    CHECK(json(tensor.shape) == one.at("shape"));
    if (one.at("values").is_null()) {
      CHECK_FALSE(is_real_dtype(tensor.dtype));
      continue;
    }
    const std::vector<float> found = values_of(file, tensor);
    const auto bits = one.at("values").get<std::vector<int32_t>>();
    REQUIRE(found.size() == bits.size());
    for (size_t i = 0; i < bits.size(); ++i) CHECK(std::bit_cast<int32_t>(found[i]) == bits[i]);
    // Parts of it are the same.
    for (size_t begin = 0; begin < found.size(); ++begin) {
      std::vector<float> part(found.size() - begin);
      TensorReader(file, tensor).read(static_cast<int64_t>(begin), part);
      CHECK(std::memcmp(part.data(), found.data() + begin, part.size() * sizeof(float)) == 0);
    }
  }
}

// What is said of a file with these contents; "accepted" if nothing.
std::string refusal_of_torch(const std::string& contents) {
  const TemporaryFolder folder;
  const auto path = folder.write("pytorch_model.bin", contents);
  try {
    const PositionalFile file(path);
    for (const StoredTensor& each : read_torch_tensors(file))
      if (is_real_dtype(each.dtype)) values_of(file, each);
    return "accepted";
  } catch (const UserError& error) {
    const std::string message = error.what();
    CHECK(message.find(path.string()) == 0);
    return message.substr(path.string().size());
  }
}

std::string refusal_of_pickle(const std::string& value, const std::vector<std::string>& storages = {}) {
  return refusal_of_torch(torch_file(pickle_of(value), storages));
}

bool tells(const std::string& message, const std::string& part) {
  if (message.find(part) != std::string::npos) return true;
  UNSCOPED_INFO(message);
  return false;
}

const std::string six = floats({0, 1, 2, 3, 4, 5});

}  // namespace

TEST_CASE("tensors that torch.save wrote are read, whatever their strides and dtypes") {
  check_tensors("tensors.bin", 16);
  check_tensors("tensors_protocol4.bin", 3);
}

TEST_CASE("float16 is rounded as PyTorch does") {
  for (const json& pair : golden_of_weights("halves.json")) {
    const auto value = std::bit_cast<float>(pair.at(0).get<uint32_t>());
    CAPTURE(value);
    CHECK(half_from_float(value) == pair.at(1).get<uint16_t>());
  }
  for (uint32_t half = 0; half < 65536; ++half)
    if ((half & 0x7c00) != 0x7c00 || (half & 0x3ff) == 0) {
      const auto bits = static_cast<uint16_t>(half);
      if (half_from_float(float_from_half(bits)) != bits) FAIL(half);
    }
  CHECK(std::isnan(float_from_half(half_from_float(NAN))));
}

TEST_CASE("formats of torch.save before PyTorch 1.6, and archives of something else, are refused by name") {
  CHECK(tells(refusal_of_torch(read_text_file(golden_file("weights/legacy.bin"))),
              "legacy format of PyTorch before 1.6"));
  CHECK(tells(refusal_of_torch(std::string(257, 'x') + "ustar\0more"), "tar format of PyTorch before 0.4"));
  CHECK(tells(refusal_of_torch(read_text_file(golden_file("weights/script.bin"))), "TorchScript"));
  CHECK(tells(refusal_of_torch(""), "not a zip archive"));
  CHECK(tells(refusal_of_torch("PK\x03\x04 and no end"), "truncated"));
  CHECK(tells(refusal_of_torch(zip_of({{"a/b", "c"}})), "0 entries data.pkl"));
  CHECK(tells(refusal_of_torch(zip_of({{"a/data.pkl", ""}, {"b/data.pkl", ""}})), "2 entries data.pkl"));
}

TEST_CASE("only archives of stored entries are read") {
  const std::string pickle =
      pickle_of(dict_of({{"w", pickled_tensor(pickled_storage("0", 6), 0, {2, 3}, {3, 1})}}));
  CHECK(refusal_of_torch(torch_file(pickle, {six})) == "accepted");
  CHECK(refusal_of_torch(torch_file(pickle, {six}, {0, 0, true})) == "accepted");  // zip64
  CHECK(tells(refusal_of_torch(torch_file(pickle, {six}, {8})),
              "'archive/byteorder' is compressed (method 8)"));
  CHECK(tells(refusal_of_torch(torch_file(pickle, {six}, {0, 1})), "is encrypted"));
  CHECK(tells(refusal_of_torch(zip_of({{"a/data.pkl", "x"}, {"a/data.pkl", "y"}})), "is there twice"));
  CHECK(tells(refusal_of_torch(zip_of({{"a/data.pkl", pickle}, {"a/data/0", six}, {"a/byteorder", "big"}})),
              "byte order is 'big'"));
  const std::string whole = torch_file(pickle, {six});
  for (size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(refusal_of_torch(whole.substr(0, size)) != "accepted");
  }
}

TEST_CASE("a pickle that names or does anything but tensors is refused with its place") {
  const std::string system = pickled_name("posix", "system") + tuple_of({pickled_text("echo harm")}) + "R";
  CHECK(tells(refusal_of_pickle(system), "data.pkl, byte 2: it names posix.system"));
  CHECK(tells(refusal_of_pickle(dict_of({{"w", system}})), "posix.system"));
  CHECK(tells(refusal_of_pickle(pickled_name("builtins", "eval") + ")R"), "builtins.eval"));
  CHECK(tells(refusal_of_pickle(pickled_name("torch", "load") + ")R"), "torch.load"));
  CHECK(tells(refusal_of_pickle(pickled_text("os") + pickled_text("system") + "\x93"), "os.system"));
  CHECK(tells(refusal_of_pickle("I5\n"), "operation 0x49"));
  CHECK(tells(refusal_of_pickle("(i__main__\nX\n"), "operation 0x69"));  // INST
  CHECK(tells(refusal_of_pickle("P0\n"), "operation 0x50"));             // PERSID
  CHECK(tells(refusal_of_pickle("\x81"), "operation 0x81"));             // NEWOBJ
  CHECK(tells(refusal_of_pickle("\x82\x01"), "operation 0x82"));         // EXT1
  CHECK(tells(refusal_of_pickle(")R"), "there is none"));
  CHECK(tells(refusal_of_pickle("))R"), "a tuple is called"));
  CHECK(tells(refusal_of_pickle("t"), "a mark is wanted"));
  CHECK(tells(refusal_of_pickle("h\x07"), "value 7"));
  CHECK(tells(refusal_of_pickle(""), "0 values are left"));
  CHECK(tells(refusal_of_pickle("}}"), "2 values are left"));
  CHECK(tells(refusal_of_pickle(")"), "the file's value is a tuple; a dict is right"));
  CHECK(tells(refusal_of_pickle("X" + raw_bytes(uint32_t{0xFFFFFFFF})), "ends within"));
  CHECK(tells(refusal_of_pickle(pickled_text("\xff")), "not UTF-8"));
  CHECK(tells(refusal_of_torch(torch_file("}.")), "does not begin with a protocol"));
  CHECK(tells(refusal_of_torch(torch_file("\x80\x01}.")), "protocol 1"));
  CHECK(tells(refusal_of_torch(torch_file("\x80\x06}.")), "protocol 6"));
  CHECK(tells(refusal_of_torch(torch_file(pickle_of("}") + "x")), "1 bytes follow"));
  CHECK(refusal_of_pickle("}") == "accepted");
}

TEST_CASE("a pickle builds no more values than a file of weights has") {
  CHECK(tells(refusal_of_pickle(std::string(most_pickled_values + 1, '(')), "more than 1000000 values"));
  CHECK(
      tells(refusal_of_pickle("}q" + std::string(1, '\0') + std::string(100, 'h')), "was never remembered"));
  std::string circle = "](q\x01";  // a list that holds itself
  CHECK(tells(refusal_of_pickle("]q\x01h\x01"
                                "a"),
              "is a list; a dict is right"));
  std::string deep = ")";
  for (int i = 0; i < 500'000; ++i) deep += "\x85";
  CHECK(tells(refusal_of_pickle(deep), "is a tuple; a dict is right"));
}

TEST_CASE("a tensor that is not what its storage holds is refused and named") {
  const auto one = [](const std::string& value, const std::string& held = six) {
    return refusal_of_pickle(dict_of({{"w", value}}), {held});
  };
  CHECK(one(pickled_tensor(pickled_storage("0", 6), 0, {2, 3}, {3, 1})) == "accepted");
  CHECK(one(pickled_tensor(pickled_storage("0", 6), 2, {2, 2}, {2, 1})) == "accepted");
  CHECK(tells(one(pickled_tensor(pickled_storage("0", 6), 3, {2, 2}, {2, 1})),
              "'w' reaches beyond its storage '0' of 6 elements"));
  CHECK(tells(one(pickled_tensor(pickled_storage("0", 6), 0, {2, 3}, {4, 1})), "reaches beyond"));
  CHECK(tells(one(pickled_tensor(pickled_storage("0", 6), 7, {0}, {1})), "reaches beyond"));
  CHECK(
      tells(one(pickled_tensor(pickled_storage("0", 6), 0, {2147483647, 2147483647, 2147483647}, {0, 0, 0})),
            "more elements than"));
  CHECK(tells(one(pickled_tensor(pickled_storage("0", 6), 0, {2, 2147483647, 2147483647},
                                 {2147483647, 2147483647, 2147483647})),
              "'w'"));
  CHECK(tells(one(pickled_tensor(pickled_storage("0", 7), 0, {2, 3}, {3, 1})),
              "storage '0' of tensor 'w' has 24 bytes, but 7 elements"));
  CHECK(tells(one(pickled_tensor(pickled_storage("0", 6, "DoubleStorage"), 0, {2, 3}, {3, 1})),
              "6 elements of F64"));
  CHECK(tells(one(pickled_tensor(pickled_storage("1", 6), 0, {2, 3}, {3, 1})),
              "it has no entry 'archive/data/1'"));
  CHECK(
      tells(one(pickled_tensor(pickled_storage("../../data.pkl", 6), 0, {2, 3}, {3, 1})), "it has no entry"));
  CHECK(tells(one(pickled_tensor(pickled_storage("0", -6), 0, {2, 3}, {3, 1})), "-6 elements"));
  CHECK(tells(one(pickled_tensor(pickled_storage("0", 6), -1, {2, 3}, {3, 1})), "offset is -1"));
  CHECK(tells(one(pickled_tensor(pickled_storage("0", 6), 0, {2, -3}, {3, 1})), "shape holds -3"));
  CHECK(tells(one(pickled_tensor(pickled_storage("0", 6), 0, {2, 3}, {-3, 1})), "strides holds -3"));
  CHECK(tells(one(pickled_tensor(pickled_storage("0", 6), 0, {2, 3}, {1})), "2 sizes and 1 strides"));
  CHECK(tells(one(pickled_tensor(pickled_storage("0", 6, "ComplexFloatStorage"), 0, {2, 3}, {3, 1})),
              "torch.ComplexFloatStorage"));
  CHECK(tells(one(pickled_text("x")), "'w' is a text; a tensor is right"));
  const std::string good = pickled_tensor(pickled_storage("0", 6), 0, {2, 3}, {3, 1});
  CHECK(tells(refusal_of_pickle(dict_of({{"w", good}, {"w", good}}), {six}), "tensor 'w' is there twice"));
}
