/* SPDX-License-Identifier: MIT */
/* cuDNN: the layers that networks are made of, with the older interface that needs no compiler. */
#include "cases.h"

#include <cmath>
#include <cudnn.h>

enum { BATCH = 2, IN = 3, OUT = 4, SIZE = 12, FILTER = 3 };

static float number(int i, int salt)
{
    return (float)((i * 7 + salt) % 5 - 2);
}

static cudnnHandle_t handle()
{
    cudnnHandle_t h;
    CALL(cudnnCreate(&h));
    return h;
}

static cudnnTensorDescriptor_t tensor(int n, int c, int h, int w)
{
    cudnnTensorDescriptor_t t;
    CALL(cudnnCreateTensorDescriptor(&t));
    CALL(cudnnSetTensor4dDescriptor(t, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, n, c, h, w));
    return t;
}

struct convolution {
    cudnnHandle_t h = handle();
    cudnnTensorDescriptor_t in = tensor(BATCH, IN, SIZE, SIZE), out = tensor(BATCH, OUT, SIZE, SIZE);
    cudnnFilterDescriptor_t filter;
    cudnnConvolutionDescriptor_t how;
    array<float> x, w, y;

    convolution() : x(BATCH * IN * SIZE * SIZE), w(OUT * IN * FILTER * FILTER), y(BATCH * OUT * SIZE * SIZE)
    {
        CALL(cudnnCreateFilterDescriptor(&filter));
        CALL(cudnnSetFilter4dDescriptor(filter, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, OUT, IN, FILTER,
                                        FILTER));
        CALL(cudnnCreateConvolutionDescriptor(&how));
        CALL(cudnnSetConvolution2dDescriptor(how, 1, 1, 1, 1, 1, 1, CUDNN_CROSS_CORRELATION,
                                             CUDNN_DATA_FLOAT));
        for (size_t i = 0; i < x.count; i++)
            x[i] = number(i, 1);
        for (size_t i = 0; i < w.count; i++)
            w[i] = number(i, 2);
        for (size_t i = 0; i < y.count; i++)
            y[i] = number(i, 3);
        x.send(), w.send(), y.send();
    }
    float &pixel(array<float> &a, int channels, int n, int c, int i, int j)
    {
        return a[((n * channels + c) * SIZE + i) * SIZE + j];
    }
};

static void forward(cudnnConvolutionFwdAlgo_t way)
{
    convolution c;
    float alpha = 1, beta = 0;
    size_t bytes;
    void *room;
    CALL(cudnnGetConvolutionForwardWorkspaceSize(c.h, c.in, c.filter, c.how, c.out, way, &bytes));
    CHECK(cudaMalloc(&room, bytes + 1));
    CALL(cudnnConvolutionForward(c.h, &alpha, c.in, c.x.device, c.filter, c.w.device, c.how, way,
                                 room, bytes, &beta, c.out, c.y.device));
    CHECK(cudaDeviceSynchronize());
    c.y.fetch();
    for (int n = 0; n < BATCH; n++)
        for (int o = 0; o < OUT; o++)
            for (int i = 0; i < SIZE; i++)
                for (int j = 0; j < SIZE; j++) {
                    float want = 0;
                    for (int k = 0; k < IN; k++)
                        for (int a = 0; a < FILTER; a++)
                            for (int b = 0; b < FILTER; b++)
                                if (i + a >= 1 && i + a <= SIZE && j + b >= 1 && j + b <= SIZE)
                                    want += c.pixel(c.x, IN, n, k, i + a - 1, j + b - 1) *
                                            c.w[((o * IN + k) * FILTER + a) * FILTER + b];
                    EXPECT(fabs(c.pixel(c.y, OUT, n, o, i, j) - want) < 1e-3);
                }
}

static void convolution_implicit() { forward(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM); }
static void convolution_precomputed() { forward(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM); }
static void convolution_gemm() { forward(CUDNN_CONVOLUTION_FWD_ALGO_GEMM); }
static void convolution_winograd() { forward(CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED); }
static void convolution_fft() { forward(CUDNN_CONVOLUTION_FWD_ALGO_FFT); }

static void convolution_backward()
{
    convolution c;
    array<float> dx(c.x.count);
    float alpha = 1, beta = 0;
    size_t bytes;
    void *room;
    cudnnConvolutionBwdDataAlgo_t way = CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
    CALL(cudnnGetConvolutionBackwardDataWorkspaceSize(c.h, c.filter, c.out, c.how, c.in, way,
                                                      &bytes));
    CHECK(cudaMalloc(&room, bytes + 1));
    CALL(cudnnConvolutionBackwardData(c.h, &alpha, c.filter, c.w.device, c.out, c.y.device, c.how,
                                      way, room, bytes, &beta, c.in, dx.device));
    CHECK(cudaDeviceSynchronize());
    dx.fetch();
    float want = 0; /* of one pixel in the middle */
    for (int o = 0; o < OUT; o++)
        for (int a = 0; a < FILTER; a++)
            for (int b = 0; b < FILTER; b++)
                want += c.pixel(c.y, OUT, 1, o, 5 + 1 - a, 6 + 1 - b) *
                        c.w[((o * IN + 2) * FILTER + a) * FILTER + b];
    EXPECT(fabs(c.pixel(dx, IN, 1, 2, 5, 6) - want) < 1e-3);
}

static void activation()
{
    cudnnHandle_t h = handle();
    cudnnActivationDescriptor_t relu;
    array<float> x(1000), y(1000);
    float alpha = 1, beta = 0;
    for (int i = 0; i < 1000; i++)
        x[i] = number(i, 1) + 0.5f;
    x.send();
    CALL(cudnnCreateActivationDescriptor(&relu));
    CALL(cudnnSetActivationDescriptor(relu, CUDNN_ACTIVATION_RELU, CUDNN_NOT_PROPAGATE_NAN, 0));
    CALL(cudnnActivationForward(h, relu, &alpha, tensor(1, 10, 10, 10), x.device, &beta,
                                tensor(1, 10, 10, 10), y.device));
    CHECK(cudaDeviceSynchronize());
    y.fetch();
    for (int i = 0; i < 1000; i++)
        EXPECT(y[i] == (x[i] > 0 ? x[i] : 0));
}

static void softmax()
{
    cudnnHandle_t h = handle();
    array<float> x(5 * 20), y(5 * 20);
    float alpha = 1, beta = 0;
    for (int i = 0; i < 100; i++)
        x[i] = number(i, 1);
    x.send();
    CALL(cudnnSoftmaxForward(h, CUDNN_SOFTMAX_ACCURATE, CUDNN_SOFTMAX_MODE_INSTANCE, &alpha,
                             tensor(5, 20, 1, 1), x.device, &beta, tensor(5, 20, 1, 1), y.device));
    CHECK(cudaDeviceSynchronize());
    y.fetch();
    for (int n = 0; n < 5; n++) {
        double sum = 0;
        for (int i = 0; i < 20; i++)
            sum += exp(x[n * 20 + i]);
        for (int i = 0; i < 20; i++)
            EXPECT(fabs(y[n * 20 + i] - exp(x[n * 20 + i]) / sum) < 1e-6);
    }
}

static void pooling()
{
    cudnnHandle_t h = handle();
    cudnnPoolingDescriptor_t most;
    array<float> x(2 * 8 * 8), y(2 * 4 * 4);
    float alpha = 1, beta = 0;
    for (int i = 0; i < 128; i++)
        x[i] = (float)((i * 37) % 101);
    x.send();
    CALL(cudnnCreatePoolingDescriptor(&most));
    CALL(cudnnSetPooling2dDescriptor(most, CUDNN_POOLING_MAX, CUDNN_NOT_PROPAGATE_NAN, 2, 2, 0, 0, 2,
                                     2));
    CALL(cudnnPoolingForward(h, most, &alpha, tensor(1, 2, 8, 8), x.device, &beta,
                             tensor(1, 2, 4, 4), y.device));
    CHECK(cudaDeviceSynchronize());
    y.fetch();
    for (int i = 0; i < 32; i++) {
        int at = i / 16 * 64 + i % 16 / 4 * 16 + i % 4 * 2;
        EXPECT(y[i] == fmaxf(fmaxf(x[at], x[at + 1]), fmaxf(x[at + 8], x[at + 9])));
    }
}

static void batch_normalisation()
{
    cudnnHandle_t h = handle();
    array<float> x(4 * 2 * 9), y(4 * 2 * 9), scale(2), bias(2), mean(2), variance(2);
    float alpha = 1, beta = 0;
    for (int i = 0; i < 72; i++)
        x[i] = number(i, 1) + i * 0.01f;
    for (int c = 0; c < 2; c++)
        scale[c] = 1, bias[c] = 0.5f;
    x.send(), scale.send(), bias.send();
    CALL(cudnnBatchNormalizationForwardTraining(
        h, CUDNN_BATCHNORM_SPATIAL, &alpha, &beta, tensor(4, 2, 3, 3), x.device,
        tensor(4, 2, 3, 3), y.device, tensor(1, 2, 1, 1), scale.device, bias.device, 1.0,
        mean.device, variance.device, 1e-5, nullptr, nullptr));
    CHECK(cudaDeviceSynchronize());
    y.fetch(), mean.fetch();
    for (int c = 0; c < 2; c++) {
        double sum = 0, out = 0;
        for (int n = 0; n < 4; n++)
            for (int i = 0; i < 9; i++)
                sum += x[(n * 2 + c) * 9 + i], out += y[(n * 2 + c) * 9 + i];
        EXPECT(fabs(mean[c] - sum / 36) < 1e-5 && fabs(out / 36 - 0.5) < 1e-5);
    }
}

static void tensors_are_added()
{
    cudnnHandle_t h = handle();
    array<float> bias(4), y(2 * 4 * 25);
    float alpha = 1, beta = 1;
    for (int i = 0; i < 4; i++)
        bias[i] = i;
    bias.send();
    CALL(cudnnAddTensor(h, &alpha, tensor(1, 4, 1, 1), bias.device, &beta, tensor(2, 4, 5, 5),
                        y.device));
    CHECK(cudaDeviceSynchronize());
    y.fetch();
    for (int i = 0; i < 200; i++)
        EXPECT(y[i] == i / 25 % 4);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        CASE(convolution_implicit), CASE(convolution_precomputed), CASE(convolution_gemm),
        CASE(convolution_winograd), CASE(convolution_fft),         CASE(convolution_backward),
        CASE(activation),           CASE(softmax),                 CASE(pooling),
        CASE(batch_normalisation),  CASE(tensors_are_added),
    };
    return run_cases(argc, argv, cases);
}
