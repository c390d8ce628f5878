// The parts of sm_80 and later that tensor-core kernels need: matrix products of a warp on fragments in
// registers, fragments read from shared memory, and copies to shared memory that run concurrently with the
// arithmetic. Each has its emulation. Fragments are laid out as in the PTX ISA, "Matrix Fragments for
// mma.m16n8k16": with g = lane / 4 and t = lane % 4,
//   A [16, 16]: registers (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8), two columns each;
//   B [16, 8]:  registers (2t, g), (2t + 8, g), two rows each;
//   C [16, 8]:  floats (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
// All lanes of a warp must call together.
#pragma once

#include "kernels/cuda/bfloat16.hpp"
#include "kernels/cuda/launch.hpp"

namespace collie::cuda {

#ifdef __CUDACC__

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// c += a · b, with bfloat16 inputs and float32 sums.
__device__ __forceinline__ void multiply_fragments(float (&c)[4], const unsigned (&a)[4], unsigned b0,
                                                   unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Loads four 8 × 8 matrices. `row` is the address in shared memory of row lane % 8 of matrix lane / 8,
// 16-byte aligned. Register i gets elements (g, 2t), (g, 2t + 1) of matrix i.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const bfloat16* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
}
// Loads the transposed matrices: register i gets elements (2t, g), (2t + 1, g) of matrix i.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&to)[4], const bfloat16* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
}

// Copies 16 bytes to shared memory, or 16 zero bytes if not `wanted`. `from` must be a valid address either
// way.
__device__ __forceinline__ void copy_16_async(void* to, const void* from, bool wanted) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(wanted ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void copy_4_async(void* to, const void* from, bool wanted) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(wanted ? 4 : 0)
               : "memory");
}
__device__ __forceinline__ void copy_8_async(void* to, const void* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(shared_address(to)), "l"(from) : "memory");
}
// Waits for the calling thread's copies. Other threads' copies are there after the barrier that follows.
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

// Packs two numbers into one register, the first in its lower half.
__device__ __forceinline__ unsigned pack(float first, float second) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(first, second);
  return static_cast<unsigned>(__bfloat16_as_ushort(both.y)) << 16 | __bfloat16_as_ushort(both.x);
}

// 2^x to 22 bits. The result is 0 for -infinity, and if it would be denormal.
__device__ __forceinline__ float approximate_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

#else

inline float low_half(uint64_t bits) {
  return to_float(bfloat16{static_cast<uint16_t>(bits)});
}

inline void multiply_fragments(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  const auto two = [](unsigned low, unsigned high) { return uint64_t{high} << 32 | low; };
  const emulation::LaneWords* words = emulation::share(two(a[0], a[1]), two(a[2], a[3]), two(b0, b1));
  const unsigned g = emulation::lane() / 4, t = emulation::lane() % 4;
  for (unsigned k = 0; k < 16; ++k) {
    const unsigned upper = k / 8, owner = k % 8 / 2, half = 16 * (k % 2);  // the place of index k
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = i / 2, column = 2 * t + i % 2;
      c[i] += low_half(words[g * 4 + owner][upper] >> (32 * row + half)) *
              low_half(words[column * 4 + owner][2] >> (32 * upper + half));
    }
  }
}

inline void load_matrices(unsigned (&to)[4], const bfloat16* row) {
  const emulation::LaneWords* rows = emulation::share(reinterpret_cast<uintptr_t>(row));
  const unsigned g = emulation::lane() / 4, t = emulation::lane() % 4;
  for (unsigned i = 0; i < 4; ++i)
    std::memcpy(&to[i], reinterpret_cast<const bfloat16*>(rows[8 * i + g][0]) + 2 * t, 4);
}

inline void load_matrices_transposed(unsigned (&to)[4], const bfloat16* row) {
  const emulation::LaneWords* rows = emulation::share(reinterpret_cast<uintptr_t>(row));
  const unsigned g = emulation::lane() / 4, t = emulation::lane() % 4;
  const auto bits = [&](unsigned i, unsigned of) {
    return unsigned{reinterpret_cast<const bfloat16*>(rows[8 * i + of][0])[g].bits};
  };
  for (unsigned i = 0; i < 4; ++i) to[i] = bits(i, 2 * t + 1) << 16 | bits(i, 2 * t);
}

inline void copy_16_async(void* to, const void* from, bool wanted) {
  emulation::copy_async(to, from, wanted ? 16 : 0, 16);
}
inline void copy_4_async(void* to, const void* from, bool wanted) {
  emulation::copy_async(to, from, wanted ? 4 : 0, 4);
}
inline void copy_8_async(void* to, const void* from) {
  emulation::copy_async(to, from, 8, 8);
}
inline void wait_for_copies() {
  emulation::wait_for_copies();
}

inline unsigned pack(float first, float second) {
  return unsigned{from_float<bfloat16>(second).bits} << 16 | from_float<bfloat16>(first).bits;
}

inline float approximate_exp2(float x) {
  return std::exp2(x);
}

#endif

}  // namespace collie::cuda
