#include "tests/cuda/device.hpp"

#include <cstring>

#include "kernels/host_data.hpp"
#include "tests/cuda/thread_order.hpp"

namespace collie::test {

namespace {

constexpr int64_t before = 3, after = 2;  // columns beside a strided matrix
constexpr float padding = 12288;          // exact in bfloat16

size_t size_of_element(Element element) {
  return element == Element::bf16 ? 2 : 4;
}

bool same_bits(const Outputs& a, const Outputs& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i].size() != b[i].size() ||
        (!a[i].empty() && std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)) != 0))
      return false;
  return true;
}

}  // namespace

Values rounded(Values values, Element element) {
  if (element == Element::bf16)
    for (float& each : values.data) each = host::from_bf16(host::to_bf16(each));
  return values;
}

Device::~Device() {
  for (const auto& [block, bytes] : blocks_) memory_->free(block, bytes);
}

std::shared_ptr<cuda::Stream> Device::shared_stream() {
  static const auto stream = std::make_shared<cuda::Stream>(0);
  return stream;
}

void* Device::allocate(size_t bytes) {
  void* const block = memory_->allocate(std::max<size_t>(bytes, 1));
  blocks_.emplace(block, std::max<size_t>(bytes, 1));
  return block;
}

void Device::write(const std::vector<float>& values, Element element, void* to) {
  if (values.empty()) return;
  if (element == Element::f32) return staging_.upload(std::as_bytes(std::span(values)), to);
  std::vector<uint16_t> bits;
  for (const float value : values) bits.push_back(host::to_bf16(value));
  staging_.upload(std::as_bytes(std::span(bits)), to);
}

Matrix Device::matrix(const Values& values, Element element) {
  const int64_t rows = values.shape.rank() == 2 ? values.shape[0] : 1, width = values.shape[-1];
  const Matrix x = blank(rows, width, element);
  std::vector<float> all(static_cast<size_t>(rows * x.stride), padding);
  const int64_t start = strided_ ? before : 0;
  for (int64_t row = 0; row < rows; ++row)
    std::copy_n(values.data.begin() + row * width, width, all.begin() + row * x.stride + start);
  write(all, element, static_cast<char*>(x.data) - static_cast<size_t>(start) * size_of_element(element));
  return x;
}

Matrix Device::blank(int64_t rows, int64_t width, Element element) {
  const int64_t start = strided_ ? before : 0, stride = strided_ ? before + width + after : width;
  char* const block =
      static_cast<char*>(allocate(static_cast<size_t>(rows * stride) * size_of_element(element)));
  std::vector<float> all(static_cast<size_t>(rows * stride), std::numeric_limits<float>::quiet_NaN());
  for (size_t i = 0; i < all.size(); ++i) {
    const int64_t column = static_cast<int64_t>(i) % stride - start;
    if (column < 0 || column >= width) all[i] = padding;
  }
  write(all, element, block);
  return {block + static_cast<size_t>(start) * size_of_element(element), element, rows, width, stride};
}

void* Device::vector(const Values& values, Element element) {
  void* const at = allocate(values.data.size() * size_of_element(element));
  write(values.data, element, at);
  return at;
}

void* Device::vector(int64_t count, Element element, size_t misaligned) {
  return static_cast<char*>(allocate(static_cast<size_t>(count) * size_of_element(element) + misaligned)) +
         misaligned;
}

std::vector<float> Device::read(const void* vector, int64_t count, Element element) {
  std::vector<float> values(static_cast<size_t>(count));
  if (count == 0) return values;
  if (element == Element::f32) {
    staging_.download(vector, std::as_writable_bytes(std::span(values)));
    return values;
  }
  std::vector<uint16_t> bits(values.size());
  staging_.download(vector, std::as_writable_bytes(std::span(bits)));
  for (size_t i = 0; i < bits.size(); ++i) values[i] = host::from_bf16(bits[i]);
  return values;
}

std::vector<float> Device::read(const Matrix& x) {
  const int64_t start = strided_ ? before : 0;
  const auto all =
      read(static_cast<const char*>(x.data) - static_cast<size_t>(start) * size_of_element(x.element),
           x.rows * x.stride, x.element);
  std::vector<float> values;
  bool intact = true;
  for (size_t i = 0; i < all.size(); ++i) {
    const int64_t column = static_cast<int64_t>(i) % x.stride - start;
    if (column >= 0 && column < x.width)
      values.push_back(all[i]);
    else
      intact = intact && all[i] == padding;
  }
  CHECK(intact);
  return values;
}

std::vector<double> Device::read(const double* values, int64_t count) {
  std::vector<double> found(static_cast<size_t>(count));
  if (count > 0) staging_.download(values, std::as_writable_bytes(std::span(found)));
  return found;
}

void agrees(Element element, const Outputs& expected, const std::function<Outputs(Device&)>& computation) {
  Outputs first;
  for (const bool strided : {false, true})
    for (const bool backward : backward_orders()) {
      INFO((element == Element::bf16 ? "bfloat16" : "float32")
           << (strided ? ", strided" : ", dense") << (backward ? ", last thread first" : ""));
      set_backward_order(backward);
      Device device(strided);
      const Outputs found = computation(device);
      set_backward_order(false);
      REQUIRE(found.size() == expected.size());
      for (size_t i = 0; i < found.size(); ++i) {
        INFO("output " << i << " of " << found[i].size() << " elements");
        CHECK(relative_error(found[i], expected[i]) <= tolerance(element));
      }
      if (first.empty()) first = found;
      CHECK(same_bits(found, first));
    }
}

Outputs by_reference(const Computation& computation) {
  static const auto reference = make_reference_operations(std::make_shared<MemoryAccount>());
  Bench bench(*reference, false);
  return computation(bench);
}

}  // namespace collie::test
