// Products of bfloat16 matrices by oneDNN, on the calling thread.
#include <omp.h>

#include <compare>
#include <cstring>
#include <map>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>

#include <vector>

#include "base/error.hpp"
#include "kernels/cpu/bfloat16_product.hpp"
#include "kernels/cpu/product_block.hpp"

namespace collie::cpu {

namespace {

// What oneDNN makes a primitive for. Making one compiles code, which takes longer than most products.
struct ProductKind {
  GemmForm form;
  int64_t m, n, terms;
  bool accumulate;
  auto operator<=>(const ProductKind&) const = default;
};

struct Primitive {
  dnnl::memory::desc a, b, c, scratchpad;
  dnnl::matmul run;
};

const dnnl::engine& engine() {
  static const dnnl::engine made(dnnl::engine::kind::cpu, 0);
  return made;
}

// A dense matrix [rows, columns]. If `transposed`, it is stored as [columns, rows].
dnnl::memory::desc matrix(int64_t rows, int64_t columns, bool transposed, dnnl::memory::data_type type) {
  using Dims = dnnl::memory::dims;
  return {{rows, columns}, type, transposed ? Dims{1, rows} : Dims{columns, 1}};
}

Primitive make_primitive(const ProductKind& kind) {
  using Type = dnnl::memory::data_type;
  const auto a = matrix(kind.m, kind.terms, kind.form == GemmForm::tn, Type::bf16);
  const auto b = matrix(kind.terms, kind.n, kind.form == GemmForm::nt, Type::bf16);
  const auto c = matrix(kind.m, kind.n, false, Type::f32);
  dnnl::primitive_attr attributes;
  // One primitive may run on several threads at once, so each brings its own workspace.
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (kind.accumulate) {
    dnnl::post_ops after;
    after.append_sum(1);
    attributes.set_post_ops(after);
  }
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul::primitive_desc chosen(engine(), a, b, c, attributes);
#else
  const dnnl::matmul::primitive_desc chosen(dnnl::matmul::desc(a, b, c), attributes, engine());
#endif
  return {a, b, c, chosen.scratchpad_desc(), dnnl::matmul(chosen)};
}

// The primitives of the process. A training run needs as many as its layers have shapes. If there come more
// (prompts of all lengths), all are made anew.
Primitive primitive_for(const ProductKind& kind) {
  constexpr size_t most_kept = 512;
  static std::mutex mutex;
  static std::map<ProductKind, Primitive> kept;
  const std::lock_guard lock(mutex);
  const auto found = kept.find(kind);
  if (found != kept.end()) return found->second;
  if (kept.size() >= most_kept) kept.clear();
  return kept.emplace(kind, make_primitive(kind)).first->second;
}

// Keeps oneDNN, which uses OpenMP, on the calling thread. The thread's setting is restored, since it may be a
// host program's.
class OneOpenMPThread {
 public:
  OneOpenMPThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneOpenMPThread() { omp_set_num_threads(before_); }
  OneOpenMPThread(const OneOpenMPThread&) = delete;
  OneOpenMPThread& operator=(const OneOpenMPThread&) = delete;

 private:
  int before_;
};

// The block itself if it is dense, else a copy. oneDNN chooses its code by strides, too, and other code adds
// in another order. So that results depend on shapes alone, it gets dense blocks only.
const bfloat16* dense(const Bfloat16Block& x, std::vector<bfloat16>& buffer) {
  if (x.stride == x.width || x.rows == 1) return x.data;
  if (buffer.size() < static_cast<size_t>(x.rows * x.width))
    buffer.resize(static_cast<size_t>(x.rows * x.width));
  for (int64_t i = 0; i < x.rows; ++i)
    std::memcpy(buffer.data() + i * x.width, x.data + i * x.stride,
                static_cast<size_t>(x.width) * sizeof(bfloat16));
  return buffer.data();
}

// The calling thread's buffers.
struct Buffers {
  std::vector<bfloat16> a, b;
  std::vector<std::byte> scratchpad;
};

dnnl::memory at(const dnnl::memory::desc& desc, const void* data) {
  return {desc, engine(), const_cast<void*>(data)};
}

void execute(const Primitive& primitive, const ProductBlock& x) {
  thread_local Buffers buffers;
  thread_local dnnl::stream stream(engine());
  if (buffers.scratchpad.size() < primitive.scratchpad.get_size())
    buffers.scratchpad.resize(primitive.scratchpad.get_size());
  primitive.run.execute(stream, {{DNNL_ARG_SRC, at(primitive.a, dense(x.a, buffers.a))},
                                 {DNNL_ARG_WEIGHTS, at(primitive.b, dense(x.b, buffers.b))},
                                 {DNNL_ARG_DST, at(primitive.c, x.c)},
                                 {DNNL_ARG_SCRATCHPAD, at(primitive.scratchpad, buffers.scratchpad.data())}});
  stream.wait();
}

}  // namespace

bool has_native_products() {
  const auto bits = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & bits) == bits;
}

void multiply_natively(const ProductBlock& x) {
  const OneOpenMPThread alone;
  try {
    execute(primitive_for({x.form, x.m, x.n, x.terms, x.accumulate}), x);
  } catch (const dnnl::error& error) {
    throw RunError("oneDNN: the product of bfloat16 matrices [{}, {}] and [{}, {}]: {}", x.m, x.terms,
                   x.terms, x.n, error.what());
  }
}

}  // namespace collie::cpu
