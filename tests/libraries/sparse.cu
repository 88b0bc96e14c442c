/* SPDX-License-Identifier: MIT */
/* cuSPARSE: a band matrix times vectors and matrices, conversions, a triangular solve. */
#include "cases.h"

#include <cmath>
#include <cusparse.h>

enum { N = 200 };

struct band {
    array<int> rows, columns;
    array<float> values;
    cusparseHandle_t handle;
    cusparseSpMatDescr_t matrix;
    int count = 0;

    band() : rows(N + 1), columns(3 * N), values(3 * N)
    {
        for (int i = 0; i < N; i++) {
            rows[i] = count;
            for (int j = i - 1; j <= i + 1; j++) {
                if (j >= 0 && j < N) {
                    columns[count] = j;
                    values[count++] = at(i, j);
                }
            }
        }
        rows[N] = count;
        rows.send(), columns.send(), values.send();
        CALL(cusparseCreate(&handle));
        CALL(cusparseCreateCsr(&matrix, N, N, count, rows.device, columns.device, values.device,
                               CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO,
                               CUDA_R_32F));
    }
    static float at(int i, int j) { return i == j ? 4.0f : i - j == 1 ? -1.0f : j - i == 1 ? 2.0f : 0; }
};

static void matrix_vector()
{
    band m;
    array<float> x(N), y(N);
    cusparseDnVecDescr_t vx, vy;
    float alpha = 1, beta = 0;
    size_t bytes;
    void *room;
    for (int i = 0; i < N; i++)
        x[i] = i % 9 - 4;
    x.send();
    CALL(cusparseCreateDnVec(&vx, N, x.device, CUDA_R_32F));
    CALL(cusparseCreateDnVec(&vy, N, y.device, CUDA_R_32F));
    for (cusparseSpMVAlg_t way : {CUSPARSE_SPMV_ALG_DEFAULT, CUSPARSE_SPMV_CSR_ALG2}) {
        CALL(cusparseSpMV_bufferSize(m.handle, CUSPARSE_OPERATION_NON_TRANSPOSE, &alpha, m.matrix,
                                     vx, &beta, vy, CUDA_R_32F, way, &bytes));
        CHECK(cudaMalloc(&room, bytes + 1));
        CALL(cusparseSpMV(m.handle, CUSPARSE_OPERATION_NON_TRANSPOSE, &alpha, m.matrix, vx, &beta,
                          vy, CUDA_R_32F, way, room));
        CHECK(cudaDeviceSynchronize());
        y.fetch();
        for (int i = 0; i < N; i++)
            EXPECT(y[i] == 4 * x[i] - (i > 0 ? x[i - 1] : 0) + 2 * (i < N - 1 ? x[i + 1] : 0));
    }
}

static void matrix_matrix()
{
    enum { COLUMNS = 8 };
    band m;
    array<float> b(N * COLUMNS), c(N * COLUMNS);
    cusparseDnMatDescr_t mb, mc;
    float alpha = 1, beta = 0;
    size_t bytes;
    void *room;
    for (int i = 0; i < N * COLUMNS; i++)
        b[i] = i % 11 - 5;
    b.send();
    CALL(cusparseCreateDnMat(&mb, N, COLUMNS, N, b.device, CUDA_R_32F, CUSPARSE_ORDER_COL));
    CALL(cusparseCreateDnMat(&mc, N, COLUMNS, N, c.device, CUDA_R_32F, CUSPARSE_ORDER_COL));
    CALL(cusparseSpMM_bufferSize(m.handle, CUSPARSE_OPERATION_NON_TRANSPOSE,
                                 CUSPARSE_OPERATION_NON_TRANSPOSE, &alpha, m.matrix, mb, &beta, mc,
                                 CUDA_R_32F, CUSPARSE_SPMM_ALG_DEFAULT, &bytes));
    CHECK(cudaMalloc(&room, bytes + 1));
    CALL(cusparseSpMM(m.handle, CUSPARSE_OPERATION_NON_TRANSPOSE, CUSPARSE_OPERATION_NON_TRANSPOSE,
                      &alpha, m.matrix, mb, &beta, mc, CUDA_R_32F, CUSPARSE_SPMM_ALG_DEFAULT, room));
    CHECK(cudaDeviceSynchronize());
    c.fetch();
    for (int k = 0; k < COLUMNS; k++)
        for (int i = 0; i < N; i++)
            EXPECT(c[k * N + i] == 4 * b[k * N + i] - (i > 0 ? b[k * N + i - 1] : 0) +
                                       2 * (i < N - 1 ? b[k * N + i + 1] : 0));
}

static void sparse_to_dense()
{
    band m;
    array<float> dense(N * N);
    cusparseDnMatDescr_t d;
    size_t bytes;
    void *room;
    CALL(cusparseCreateDnMat(&d, N, N, N, dense.device, CUDA_R_32F, CUSPARSE_ORDER_ROW));
    CALL(cusparseSparseToDense_bufferSize(m.handle, m.matrix, d,
                                          CUSPARSE_SPARSETODENSE_ALG_DEFAULT, &bytes));
    CHECK(cudaMalloc(&room, bytes + 1));
    CALL(cusparseSparseToDense(m.handle, m.matrix, d, CUSPARSE_SPARSETODENSE_ALG_DEFAULT, room));
    CHECK(cudaDeviceSynchronize());
    dense.fetch();
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            EXPECT(dense[i * N + j] == band::at(i, j));
}

static void triangular_solve()
{
    band m;
    array<float> x(N), y(N);
    cusparseDnVecDescr_t vx, vy;
    cusparseSpSVDescr_t how;
    cusparseFillMode_t lower = CUSPARSE_FILL_MODE_LOWER;
    cusparseDiagType_t diagonal = CUSPARSE_DIAG_TYPE_NON_UNIT;
    float alpha = 1;
    size_t bytes;
    void *room;
    /* (4 on the diagonal, -1 below) times 1, 2, 3 ... */
    for (int i = 0; i < N; i++)
        x[i] = 4 * (i % 16 + 1) - (i > 0 ? (i - 1) % 16 + 1 : 0);
    x.send();
    CALL(cusparseCreateDnVec(&vx, N, x.device, CUDA_R_32F));
    CALL(cusparseCreateDnVec(&vy, N, y.device, CUDA_R_32F));
    CALL(cusparseSpMatSetAttribute(m.matrix, CUSPARSE_SPMAT_FILL_MODE, &lower, sizeof(lower)));
    CALL(cusparseSpMatSetAttribute(m.matrix, CUSPARSE_SPMAT_DIAG_TYPE, &diagonal, sizeof(diagonal)));
    CALL(cusparseSpSV_createDescr(&how));
    CALL(cusparseSpSV_bufferSize(m.handle, CUSPARSE_OPERATION_NON_TRANSPOSE, &alpha, m.matrix, vx,
                                 vy, CUDA_R_32F, CUSPARSE_SPSV_ALG_DEFAULT, how, &bytes));
    CHECK(cudaMalloc(&room, bytes + 1));
    CALL(cusparseSpSV_analysis(m.handle, CUSPARSE_OPERATION_NON_TRANSPOSE, &alpha, m.matrix, vx, vy,
                               CUDA_R_32F, CUSPARSE_SPSV_ALG_DEFAULT, how, room));
    CALL(cusparseSpSV_solve(m.handle, CUSPARSE_OPERATION_NON_TRANSPOSE, &alpha, m.matrix, vx, vy,
                            CUDA_R_32F, CUSPARSE_SPSV_ALG_DEFAULT, how));
    CHECK(cudaDeviceSynchronize());
    y.fetch();
    for (int i = 0; i < N; i++)
        EXPECT(fabs(y[i] - (i % 16 + 1)) < 1e-3);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        CASE(matrix_vector), CASE(matrix_matrix), CASE(sparse_to_dense), CASE(triangular_solve),
    };
    return run_cases(argc, argv, cases);
}
