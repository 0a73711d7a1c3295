// The complete list of what a device must implement. Each line names a kernel entry point and its
// arguments; the contract (formula, shapes, dtypes) stands in the header of its family in ops/.
//
// From this list come the table below, the declarations in each namespace that implements it
// (cpu/kernels.h, reference/kernels.h) and the tables themselves: a new kernel is one new line here.
#pragma once
#include "ops/activation.h"
#include "ops/check.h"
#include "ops/conv2d.h"
#include "ops/conv2d_relu_max_pool2d.h"
#include "ops/data.h"
#include "ops/elementwise.h"
#include "ops/gemm.h"
#include "ops/index.h"
#include "ops/limits.h"
#include "ops/linear.h"
#include "ops/loss.h"
#include "ops/norm.h"
#include "ops/optimizer.h"
#include "ops/pool2d.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/softmax.h"

// clang-format off
#define WEFT_KERNELS(KERNEL)                                    \
  /* elementwise.h: any strides */                              \
  KERNEL(copy,                     CopyArgs)                    \
  KERNEL(fill,                     FillArgs)                    \
  KERNEL(unary,                    UnaryArgs)                   \
  KERNEL(binary,                   BinaryArgs)                  \
  KERNEL(where,                    WhereArgs)                   \
  KERNEL(arange,                   ArangeArgs)                  \
  /* activation.h: without gaps, in any order */                \
  KERNEL(activation_forward,       ActivationArgs)              \
  KERNEL(activation_backward,      ActivationBackwardArgs)      \
  /* reduce.h */                                                \
  KERNEL(reduce,                   ReduceArgs)                  \
  /* gemm.h */                                                  \
  KERNEL(gemm,                     GemmArgs)                    \
  /* linear.h */                                                \
  KERNEL(linear_backward,          LinearBackwardArgs)          \
  /* conv2d.h: images contiguous or channels last */            \
  KERNEL(conv2d_forward,           Conv2dForwardArgs)           \
  KERNEL(conv2d_backward_input,    Conv2dBackwardInputArgs)     \
  KERNEL(conv2d_backward_weight,   Conv2dBackwardWeightArgs)    \
  /* conv2d_relu_max_pool2d.h: contiguous */                    \
  KERNEL(conv2d_relu_max_pool2d,   Conv2dReluMaxPool2dArgs)     \
  KERNEL(conv2d_relu_max_pool2d_backward, Conv2dReluMaxPool2dBackwardArgs) \
  /* pool2d.h: contiguous or channels last */                   \
  KERNEL(max_pool2d_forward,       MaxPool2dArgs)               \
  KERNEL(max_pool2d_backward,      MaxPool2dBackwardArgs)       \
  KERNEL(avg_pool2d_forward,       AvgPool2dArgs)               \
  KERNEL(avg_pool2d_backward,      AvgPool2dArgs)               \
  KERNEL(lp_pool2d_forward,        LpPool2dArgs)                \
  KERNEL(lp_pool2d_backward,       LpPool2dBackwardArgs)        \
  /* norm.h: contiguous */                                      \
  KERNEL(batch_norm_forward,       BatchNormArgs)               \
  KERNEL(batch_norm_backward,      BatchNormBackwardArgs)       \
  KERNEL(row_norm_forward,         RowNormArgs)                 \
  KERNEL(row_norm_backward,        RowNormBackwardArgs)         \
  /* softmax.h */                                               \
  KERNEL(softmax_forward,          SoftmaxArgs)                 \
  KERNEL(softmax_backward,         SoftmaxBackwardArgs)         \
  /* loss.h */                                                  \
  KERNEL(pointwise_loss_forward,   PointwiseLossArgs)           \
  KERNEL(pointwise_loss_backward,  PointwiseLossBackwardArgs)   \
  KERNEL(cross_entropy_forward,    CrossEntropyArgs)            \
  KERNEL(cross_entropy_backward,   CrossEntropyBackwardArgs)    \
  /* index.h */                                                 \
  KERNEL(index_select,             IndexSelectArgs)             \
  KERNEL(index_add,                IndexSelectArgs)             \
  KERNEL(gather,                   GatherArgs)                  \
  KERNEL(scatter_add,              GatherArgs)                  \
  KERNEL(one_hot,                  OneHotArgs)                  \
  /* random.h: contiguous */                                    \
  KERNEL(random_fill,              RandomArgs)                  \
  KERNEL(dropout,                  DropoutArgs)                 \
  /* optimizer.h: flat buffers */                               \
  KERNEL(sgd_step,                 SgdArgs)                     \
  KERNEL(adagrad_step,             AdagradArgs)                 \
  KERNEL(rmsprop_step,             RmspropArgs)                 \
  KERNEL(adam_step,                AdamArgs)                    \
  KERNEL(add_squares,              AddSquaresArgs)              \
  KERNEL(clip_scale,               ClipScaleArgs)               \
  /* limits.h */                                                \
  KERNEL(fma_loop,                 FmaLoopArgs)                 \
  /* check.h */                                                 \
  KERNEL(check_values,             CheckValuesArgs)             \
  /* data.h */                                                  \
  KERNEL(gather_images,            GatherImagesArgs)            \
  KERNEL(warp_images,              WarpImagesArgs)
// clang-format on

namespace weft {

class Stream;
struct Device;

struct Backend {
#define WEFT_FIELD(kernel, Args) void (*kernel)(Stream&, const Args&);
  WEFT_KERNELS(WEFT_FIELD)
#undef WEFT_FIELD
};

// The table of a device; on the CPU that of the instruction set in use. RuntimeError for a device that
// this build lacks.
const Backend& backend(const Device& device);

// Declares every entry point in the namespace that uses it.
#define WEFT_DECLARE_KERNEL(kernel, Args) void kernel(Stream& stream, const Args& args);
// Fills a table with the entry points of the namespace that uses it.
#define WEFT_TABLE_ENTRY(kernel, Args) kernel,

}  // namespace weft
