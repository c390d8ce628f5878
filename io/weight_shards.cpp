#include "io/weight_shards.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>

#include "base/error.hpp"
#include "base/quote.hpp"

namespace collie {

namespace {

constexpr std::array<std::pair<const char*, double>, 5> size_units = {
    {{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"", 1}}};
constexpr double most_shard_bytes = 1e18;

std::optional<double> bytes_of_size(std::string_view text) {
  const size_t end = text.find_first_not_of("0123456789.");
  std::string unit(end == std::string_view::npos ? "" : text.substr(end));
  unit.erase(0, std::min(unit.find_first_not_of(' '), unit.size()));
  for (char& c : unit) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  double number = 0;
  const std::string_view digits = text.substr(0, end);
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || stop != digits.data() + digits.size()) return std::nullopt;
  if (unit.empty() && digits.find('.') != std::string_view::npos) return std::nullopt;
  for (const auto& [name, factor] : size_units)
    if (unit == name) return number * factor;
  return std::nullopt;
}

int64_t elements_of(const SafetensorsItem& item) {
  int64_t elements = 1;
  for (const int64_t size : item.shape) elements *= size;
  return elements;
}

uint64_t bytes_of(const SafetensorsItem& item) {
  return static_cast<uint64_t>(elements_of(item)) *
         static_cast<uint64_t>(safetensors_element_bits(item.dtype).value()) / 8;
}

// The parts of a name between its dots, numbers before texts, a text as what stands before a number at its
// end, and that number (transformers' dot_natural_key).
using NamePart = std::tuple<int, std::string, int64_t>;
std::vector<NamePart> natural_key(const std::string& name) {
  std::vector<NamePart> parts;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    const size_t digits = part.find_last_not_of("0123456789") + 1;  // 0 if all are digits
    int64_t number = -1;
    std::from_chars(part.data() + digits, part.data() + part.size(), number);
    parts.emplace_back(digits == 0 && !part.empty() ? 0 : 1, part.substr(0, digits), number);
    begin = end + 1;
  }
  return parts;
}

std::vector<size_t> order_of(const std::vector<SafetensorsItem>& items, uint64_t most) {
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  uint64_t bytes = 0;
  for (const SafetensorsItem& item : items) bytes += bytes_of(item);
  if (bytes <= most) return order;
  std::vector<std::vector<NamePart>> keys;
  for (const SafetensorsItem& item : items) keys.push_back(natural_key(item.name));
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return keys[a] < keys[b]; });
  return order;
}

}  // namespace

uint64_t shard_bytes_of(const std::string& size, const std::string& place) {
  const auto bytes = bytes_of_size(size);
  if (!bytes || *bytes < 1 || *bytes > most_shard_bytes)
    throw UserError(
        "{}: found '{}'; a size such as 50GB, 500MB or 5000000 (bytes) is wanted; units are TB, GB, MB, KB",
        place, shortened(size));
  return static_cast<uint64_t>(*bytes);
}

std::vector<WeightShard> split_weights(const std::vector<SafetensorsItem>& items, uint64_t most) {
  std::vector<WeightShard> shards;
  WeightShard open;
  uint64_t open_bytes = 0;
  for (const size_t i : order_of(items, most)) {
    const uint64_t bytes = bytes_of(items[i]);
    if (bytes > most) {  // does not close the open one
      shards.push_back({"", {i}});
      continue;
    }
    if (open_bytes + bytes > most) {
      shards.push_back(std::exchange(open, {}));
      open_bytes = 0;
    }
    open.items.push_back(i);
    open_bytes += bytes;
  }
  if (!open.items.empty()) shards.push_back(std::move(open));
  for (size_t i = 0; i < shards.size(); ++i)
    shards[i].file = shards.size() == 1
                         ? "model.safetensors"
                         : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
  return shards;
}

std::string weight_index(const std::vector<SafetensorsItem>& items, const std::vector<WeightShard>& shards) {
  uint64_t bytes = 0;
  int64_t elements = 0;
  nlohmann::json map = nlohmann::json::object();
  for (const WeightShard& shard : shards)
    for (const size_t i : shard.items) {
      map[items[i].name] = shard.file;
      bytes += bytes_of(items[i]);
      elements += elements_of(items[i]);
    }
  const nlohmann::json index = {{"metadata", {{"total_parameters", elements}, {"total_size", bytes}}},
                                {"weight_map", map}};
  return index.dump(2, ' ', true) + "\n";
}

}  // namespace collie
