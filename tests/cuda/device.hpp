// For tests of single kernels: matrices of either element type on the device, dense or strided, and
// comparison with what the double reference makes of the same rounded inputs.
#pragma once

#include <map>

#include "kernels/cuda/memory/device_memory.hpp"
#include "kernels/cuda/memory/host_transfers.hpp"
#include "kernels/cuda/views.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

namespace collie::test {

using cuda::Element;
using cuda::Matrix;

constexpr Element elements[] = {Element::f32, Element::bf16};
inline double tolerance(Element element) {
  return element == Element::bf16 ? 4e-3 : 1e-5;
}

// As the element type stores them.
Values rounded(Values values, Element element);

class Device {
 public:
  // Strided matrices have columns on both sides which nobody may write, and no row is aligned.
  explicit Device(bool strided = false) : strided_(strided) {}
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  CUstream_st* stream() { return stream_->native(); }

  Matrix matrix(const Values& values, Element element);                 // of rank 1 or 2
  Matrix blank(int64_t rows, int64_t width, Element element);           // NaN
  void* vector(const Values& values, Element element);                  // dense and aligned
  void* vector(int64_t count, Element element, size_t misaligned = 0);  // NaN; starts so many bytes off
  template <class T>
  T* array(const std::vector<T>& values) {
    T* const at = static_cast<T*>(allocate(values.size() * sizeof(T)));
    staging_.upload(std::as_bytes(std::span(values)), at);
    return at;
  }

  std::vector<float> read(const Matrix& x);  // CHECKs that the columns beside it are as they were
  std::vector<float> read(const void* vector, int64_t count, Element element);
  std::vector<double> read(const double* values, int64_t count);

 private:
  // One for all tests: an emulated stream's fibers take longer to make than most tests.
  static std::shared_ptr<cuda::Stream> shared_stream();
  void* allocate(size_t bytes);  // NaN
  void write(const std::vector<float>& values, Element element, void* to);

  bool strided_;
  std::shared_ptr<cuda::Stream> stream_ = shared_stream();
  cuda::HostStaging staging_{stream_};
  std::shared_ptr<MemorySource> memory_ = cuda::device_memory(stream_);
  std::map<void*, size_t> blocks_;
};

// The whole computation dense and strided, with a block's threads in either order: always the same bits,
// within the element type's tolerance of `expected`.
void agrees(Element element, const Outputs& expected, const std::function<Outputs(Device&)>& computation);

// What `computation` gives on the double reference.
Outputs by_reference(const Computation& computation);

}  // namespace collie::test
